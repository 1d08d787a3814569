#!/usr/bin/env bash
# The C compiler of 32-bit ARM, as crates call it: assembly goes to Debian's gcc, all else to zig.
#
# zig ignores -mfpu=neon and then refuses the NEON kernels of tract-linalg. gcc takes them, but its headers are those of another C library, with a
# time_t of 32 bits: C that was built with them breaks when it is linked with musl (SQLite asks for the time of day). Assembly has no headers.
#
# cross/build.sh sets TACIT_ZIG_CPU and TACIT_GCC_MARCH.
set -euo pipefail

assembly=
for word in "$@"; do
  case $word in *.S | *.s) assembly=yes ;; esac
done
if [ -z "$assembly" ]; then
  exec cargo-zigbuild zig cc -- -g -fno-sanitize=all "-mcpu=$TACIT_ZIG_CPU" -target arm-linux-musleabihf "$@"
fi

# cc-rs asked zig who it is and gives the flags of clang; gcc gets those that it knows.
flags=()
value=
for word in "$@"; do
  if [ -n "$value" ]; then
    flags+=("$word")
    value=
    continue
  fi
  case $word in
    -o | -I | -D | -U | -isystem | -include)
      flags+=("$word")
      value=yes
      ;;
    -c | -E | -O? | -fPIC | -o* | -I* | -D* | -U* | -mfpu=* | *.S | *.s) flags+=("$word") ;;
  esac
done
exec arm-linux-gnueabihf-gcc "-march=$TACIT_GCC_MARCH" -marm -mfloat-abi=hard -D_FORTIFY_SOURCE=0 "${flags[@]}"
