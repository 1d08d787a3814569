#!/usr/bin/env bash
# Everything of a release: packages of all targets, tested, in one folder with checksums. packaging/release.sh [TARGET…]
#
#   SIGN_KEY=…         a minisign key with which SHA256SUMS is signed (asks for its password); without it nothing is signed
#   SKIP_TESTS=yes     makes files only
set -euo pipefail
cd "$(dirname "$0")/.."

TARGETS=("$@")
[ ${#TARGETS[@]} -gt 0 ] || TARGETS=(x86_64-unknown-linux-musl aarch64-unknown-linux-musl armv7-unknown-linux-musleabihf arm-unknown-linux-musleabihf)
VERSION=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' Cargo.toml)
RELEASE=target/packaging/release/tacit-$VERSION

if [ -n "$(git status --porcelain 2>/dev/null)" ]; then
  echo "packaging/release.sh: the work tree has changes that are not committed; what is released must be what is in the history" >&2
  [ "${ALLOW_CHANGES:-}" = yes ] || exit 1
fi
for target in "${TARGETS[@]}"; do
  packaging/build.sh "$target"
done
if [ "${SKIP_TESTS:-}" != yes ]; then
  for target in "${TARGETS[@]}"; do
    cross/test.sh "$target"
  done
  packaging/test.sh amd64
  packaging/test.sh arm64
fi

rm -rf "$RELEASE"
mkdir -p "$RELEASE"
for target in "${TARGETS[@]}"; do
  machine=${target%%-unknown*}
  [ "$machine" != arm ] || machine=armv6
  for file in "target/packaging/out/$target"/*; do
    name=$(basename "$file")
    # Bills of materials have the same name for every target.
    case $name in *.cdx.json) name=${name%.cdx.json}-$machine.cdx.json ;; esac
    [ ! -e "$RELEASE/$name" ] || { echo "packaging/release.sh: two targets made $name" >&2; exit 1; }
    cp "$file" "$RELEASE/$name"
  done
done
(cd "$RELEASE" && sha256sum -- * >SHA256SUMS && sha256sum --quiet --check SHA256SUMS)
if [ -n "${SIGN_KEY:-}" ]; then
  minisign -S -s "$SIGN_KEY" -m "$RELEASE/SHA256SUMS"
fi
echo "== $RELEASE"
ls -l "$RELEASE"
