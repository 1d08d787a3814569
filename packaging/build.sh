#!/usr/bin/env bash
# Makes the packages of one target: .deb, .rpm and a plain tarball of agent and collector, below target/packaging/out/TARGET.
#
#   packaging/build.sh [TARGET]        default x86_64-unknown-linux-musl
#
#   PROFILE=dist       cargo's profile; `ci` builds faster and makes larger programs
#   BUILD=yes          `no`: the programs were built before (packaging alone takes seconds)
#   REVISION=1         of the package, when the same version is packed again
#   MAINTAINER=…       instead of the one in Cargo.toml
#   SOURCE_DATE_EPOCH  times in the packages; default: that of the last commit
set -euo pipefail
cd "$(dirname "$0")/.."

TARGET=${1:-x86_64-unknown-linux-musl}
PROFILE=${PROFILE:-dist}
REVISION=${REVISION:-1}
VARIANT=
case $TARGET in
  x86_64-unknown-linux-musl) RPM_ARCH=x86_64 ;;
  aarch64-unknown-linux-musl) RPM_ARCH=aarch64 ;;
  armv7-unknown-linux-musleabihf) RPM_ARCH=armv7hl ;;
  # Debian has one name for both 32-bit ARMs: this one's packages are called …-armv6.
  arm-unknown-linux-musleabihf) RPM_ARCH=armv6hl VARIANT=armv6 ;;
  riscv64gc-unknown-linux-musl) RPM_ARCH=riscv64 ;;
  *)
    echo "packaging/build.sh: no packages are made for $TARGET" >&2
    exit 2
    ;;
esac
# A model runs up to twenty times slower with backtraces, and so do tests of the build.
export RUST_BACKTRACE=0
TARGET_DIR=${CARGO_TARGET_DIR:-target}
BIN=$TARGET_DIR/$TARGET/$PROFILE
OUT=target/packaging/out/$TARGET
STAGE=target/packaging/stage
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH

say() { echo "== $*"; }

# From crates.io: older ones cannot read manifests of edition 2024.
tools() {
  cargo deb --version >/dev/null 2>&1 || cargo install --quiet --locked cargo-deb --version '^3'
  cargo generate-rpm --version >/dev/null 2>&1 || cargo install --quiet --locked cargo-generate-rpm --version '>=0.19, <1'
}

build() {
  if [ "$TARGET" = "$(uname -m)-unknown-linux-musl" ] && command -v musl-gcc >/dev/null; then
    cargo build --quiet --locked --profile "$PROFILE" --target "$TARGET" -p "$1"
  else
    # What other machines need is known there.
    PROFILE=$PROFILE cross/build.sh "$TARGET" "$1"
  fi
}

# Each program is built alone, so that no feature of another makes it larger.
programs() {
  local program
  for program in tacit-agent tacit-netns tacit-collector tacit; do
    if [ "${BUILD:-yes}" != no ]; then
      say "$program for $TARGET"
      build "$program"
    fi
    [ -x "$BIN/$program" ] || { echo "packaging/build.sh: there is no $BIN/$program" >&2; exit 1; }
    if readelf -d "$BIN/$program" 2>/dev/null | grep -q NEEDED; then
      echo "packaging/build.sh: $BIN/$program is not static; packages have no dependencies" >&2
      exit 1
    fi
  done
}

# What goes beside the programs. Man pages and completions come out of the programs' own command lines, on this machine.
stage() {
  local made=$STAGE/made part program shell file
  rm -rf "$STAGE"
  mkdir -p "$STAGE"
  if [ -z "${TACIT:-}" ]; then
    cargo build --quiet --locked --profile "${HOST_PROFILE:-ci}" -p tacit
    TACIT=$TARGET_DIR/${HOST_PROFILE:-ci}/tacit
  fi
  "$TACIT" man "$made"
  for part in "agent tacit-agent" "collector tacit-collector tacit"; do
    # shellcheck disable=SC2086
    set -- $part
    part=$1
    shift
    mkdir -p "$STAGE/$part"/{man1,man8,bash,fish,zsh}
    for program in "$@"; do
      for file in "$made/man/$program.1" "$made/man/$program"-*.1; do
        # tacit-*.1 are also the pages of the other two programs.
        case $program:$(basename "$file") in
          tacit:tacit-agent* | tacit:tacit-collector*) continue ;;
        esac
        [ ! -e "$file" ] || gzip -9nc "$file" >"$STAGE/$part/man1/$(basename "$file").gz"
      done
      cp "$made/completions/bash/$program.bash" "$STAGE/$part/bash/$program"
      cp "$made/completions/fish/$program.fish" "$STAGE/$part/fish/"
      cp "$made/completions/zsh/_$program" "$STAGE/$part/zsh/"
    done
  done
  gzip -9nc packaging/man/tacit-netns.8 >"$STAGE/agent/man8/tacit-netns.8.gz"
  rmdir "$STAGE/collector/man8"
  # The same file, but for where an installed collector keeps its data.
  sed 's|^data_dir = "./.tacit/collector"$|data_dir = "/var/lib/tacit-collector"|' packaging/collector.toml >"$STAGE/collector/collector.toml"
  grep -q '^data_dir = "/var/lib/tacit-collector"$' "$STAGE/collector/collector.toml" ||
    { echo "packaging/build.sh: data_dir is not where it was in packaging/collector.toml" >&2; exit 1; }
  packaging/sbom.sh "$TARGET" tacit-agent tacit-netns >"$STAGE/agent/sbom.cdx.json"
  packaging/sbom.sh "$TARGET" tacit-collector tacit >"$STAGE/collector/sbom.cdx.json"
  rm -rf "$made"
}

packages() {
  local part
  rm -rf "$OUT"
  mkdir -p "$OUT"
  for part in agent collector; do
    say ".deb of tacit-$part"
    cargo deb --quiet --no-build --no-strip --locked -p "tacit-$part" --target "$TARGET" --profile "$PROFILE" --deb-revision "$REVISION" \
      ${VARIANT:+--variant "$VARIANT"} ${MAINTAINER:+--maintainer "$MAINTAINER"} --output "$OUT"
    say ".rpm of tacit-$part"
    cargo generate-rpm -p "$part" --target "$TARGET" --target-dir "$TARGET_DIR" --profile "$PROFILE" --arch "$RPM_ARCH" \
      --set-metadata "release = \"$REVISION\"" ${VARIANT:+--variant "$VARIANT"} --output "$OUT"
  done
  packaging/tarball.sh "$TARGET" "$BIN" "$OUT"
  cp "$STAGE/agent/sbom.cdx.json" "$OUT/tacit-agent.cdx.json"
  cp "$STAGE/collector/sbom.cdx.json" "$OUT/tacit-collector.cdx.json"
}

tools
programs
stage
packages
say "packages for $TARGET"
ls -l "$OUT"
