#!/usr/bin/env bash
# ARM with 64 and with 32 bits, as CI does it: the agent, without the long link of what ships, tried under emulation beside the
# collector that the tests built (HOST_BIN). Trying is mostly waiting, so both are tried at once.
#
#   HOST_BIN=target/ci cross/ci.sh [MACHINE …]        default: aarch64 armv7
set -euo pipefail
cd "$(dirname "$0")/.."

machines=("$@")
[ ${#machines[@]} -gt 0 ] || machines=(aarch64 armv7)
declare -A trials=()
failed=
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
for machine in "${machines[@]}"; do
  cross/build.sh "$machine" release
done
for machine in "${machines[@]}"; do
  cross/test.sh "$machine" release >"$folder/$machine" 2>&1 &
  trials[$machine]=$!
done
for machine in "${machines[@]}"; do
  wait "${trials[$machine]}" || failed+=" $machine"
  cat "$folder/$machine"
done
if [ -n "$failed" ]; then
  echo "the agent fails on:$failed" >&2
  exit 1
fi
