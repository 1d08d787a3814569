# The commands of every day. `just check` is what CI runs.

# Start Tacit on this machine.
up *ARGS:
    cargo run --release -- {{ARGS}}

# Everything CI checks, cheapest first.
check:
    bash .ci/run

# Tests only (the README's command).
test:
    cargo test --workspace --profile ci

# Format and lint while editing.
lint:
    cargo fmt --all
    cargo clippy --workspace --all-targets -- -D warnings

# The agent and its helper for container namespaces as they ship: static, small.
dist TARGET="x86_64-unknown-linux-musl":
    cargo build --profile dist --target {{TARGET}} -p tacit-agent
    cargo build --profile dist --target {{TARGET}} -p tacit-netns

# Programs for another machine: x86_64, aarch64, armv7, armv6 or riscv64; keeps cross/sizes.tsv (cross/README.md).
cross TARGET *ARGS:
    cross/build.sh {{TARGET}} --record {{ARGS}}

# Builds the agent for another machine and tries it under qemu-user.
cross-test TARGET PROFILE="dist":
    cross/build.sh {{TARGET}} {{PROFILE}} tacit-agent
    cross/test.sh {{TARGET}} {{PROFILE}}

# Packages of one target below target/packaging/out: .deb, .rpm, tarball (packaging/README.md).
package TARGET="x86_64-unknown-linux-musl":
    packaging/build.sh {{TARGET}}

# Installs, boots, breaks, upgrades and purges the packages in a Debian of its own; needs root.
package-test ARCH="amd64":
    packaging/test.sh {{ARCH}}

# Everything of a release: packages of all targets, tested, with checksums.
release *TARGETS:
    packaging/release.sh {{TARGETS}}

# What the agent costs, beside peers installed here.
footprint *ARGS:
    cargo build --release -p tacit-agent
    cargo run --release -p tacit-bench -- footprint {{ARGS}}

# Micro-benches of every crate.
bench *ARGS:
    RUST_BACKTRACE=0 cargo bench --workspace {{ARGS}}

# Scores that every machine must compute, after a change of the detector that is meant.
update-scores:
    UPDATE_SCORES=1 cargo test -p tacit-models --test it agreement

# Regenerate the tables in docs/PROTOCOL.md after a change of names.
update-docs:
    UPDATE_DOCS=1 cargo test -p tacit-wire --test it
