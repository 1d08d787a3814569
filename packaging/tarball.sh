#!/usr/bin/env bash
# A plain tarball of all that the packages install, laid out from /: packaging/tarball.sh TARGET FOLDER_OF_PROGRAMS OUT
#
# For images that are built from parts (Yocto, Buildroot) and machines without a package manager: unpack it at the root, let
# systemd-sysusers and systemd-tmpfiles run (both do at boot), enable what is wanted. packaging/README.md has a Yocto recipe.
# packaging/build.sh calls it, after it made what lies below target/packaging/stage.
set -euo pipefail
cd "$(dirname "$0")/.."

TARGET=$1 BIN=$2 OUT=$3
VERSION=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' Cargo.toml)
[ -n "$VERSION" ] || { echo "packaging/tarball.sh: Cargo.toml names no version" >&2; exit 1; }
STAGE=target/packaging/stage
MACHINE=${TARGET%%-unknown*}
[ "$MACHINE" != arm ] || MACHINE=armv6

for part in agent collector; do
  name=tacit-$part-$VERSION-$MACHINE
  root=$STAGE/tarball-$part
  rm -rf "$root"
  put() { install -D -m "$1" "$2" "$root/$3"; }
  case $part in
    agent)
      put 755 "$BIN/tacit-agent" usr/bin/tacit-agent
      put 755 "$BIN/tacit-netns" usr/bin/tacit-netns
      put 644 packaging/agent.toml etc/tacit/agent.toml
      install -d -m 755 "$root/etc/tacit/agent.d"
      put 644 packaging/systemd/tacit-netns.service usr/lib/systemd/system/tacit-netns.service
      put 644 packaging/systemd/tacit-netns.socket usr/lib/systemd/system/tacit-netns.socket
      put 644 packaging/systemd/tacit-agent-full.conf usr/share/tacit-agent/tacit-agent-full.conf
      ;;
    collector)
      put 755 "$BIN/tacit-collector" usr/bin/tacit-collector
      put 755 "$BIN/tacit" usr/bin/tacit
      put 644 "$STAGE/collector/collector.toml" etc/tacit/collector.toml
      put 644 packaging/grafana/tacit-collector.json usr/share/tacit-collector/grafana/tacit-collector.json
      put 644 packaging/prometheus/tacit-alerts.yml usr/share/tacit-collector/prometheus/tacit-alerts.yml
      ;;
  esac
  put 644 "packaging/systemd/tacit-$part.service" "usr/lib/systemd/system/tacit-$part.service"
  put 644 "packaging/sysusers/tacit-$part.conf" "usr/lib/sysusers.d/tacit-$part.conf"
  put 644 "packaging/tmpfiles/tacit-$part.conf" "usr/lib/tmpfiles.d/tacit-$part.conf"
  for section in 1 8; do
    [ ! -d "$STAGE/$part/man$section" ] || for page in "$STAGE/$part/man$section"/*; do
      put 644 "$page" "usr/share/man/man$section/$(basename "$page")"
    done
  done
  for file in "$STAGE/$part"/bash/*; do put 644 "$file" "usr/share/bash-completion/completions/$(basename "$file")"; done
  for file in LICENSE-MIT LICENSE-APACHE "$STAGE/$part/sbom.cdx.json"; do
    put 644 "$file" "usr/share/doc/tacit-$part/$(basename "$file")"
  done
  # The same input gives the same bytes.
  tar --create --directory "$root" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@${SOURCE_DATE_EPOCH:-0}" . |
    gzip -9n >"$OUT/$name.tar.gz"
  rm -rf "$root"
done
