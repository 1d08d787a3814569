#!/usr/bin/env bash
# The bill of materials of one or more of our programs as CycloneDX 1.5 (JSON), on standard output: packaging/sbom.sh TARGET PROGRAM…
#
# Which crates are linked is what cargo resolves for the target, without those that only build or test; as it resolves the whole workspace at once
# there may be a crate more, but none is missing. Versions, licences and checksums are those of Cargo.lock and of the crates' own manifests.
# The same sources give the same bytes.
set -euo pipefail
cd "$(dirname "$0")/.."

TARGET=$1
shift
cargo metadata --locked --format-version 1 --filter-platform "$TARGET" | python3 packaging/sbom.py Cargo.lock "$@"
