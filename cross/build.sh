#!/usr/bin/env bash
# Builds static programs for another machine, into target/TARGET/PROFILE, and prints their sizes.
#
#   cross/build.sh TARGET [PROFILE] [--collector] [--record] [PROGRAM…]
#
#   TARGET        x86_64, aarch64, armv7, armv6 or riscv64, or its full name (aarch64-unknown-linux-musl)
#   PROFILE       dist (also by the variable PROFILE), release (no LTO: a third of the time, a fifth larger) or ci (with assertions)
#   --collector   tacit-collector and tacit too
#   --record      keeps the sizes in cross/sizes.tsv
#   PROGRAM       only these: tacit-agent, tacit-netns (both when none is named), tacit-collector, tacit
#
# What is missing of the tools is installed below ~/.cache/tacit/cross (TACIT_CROSS_TOOLS), nothing below the clone. cross/README.md tells
# of each obstacle and why its cure is this one.
set -euo pipefail
cd "$(dirname "$0")/.."

ZIGLANG=0.17.1
ZIGBUILD=0.24.0

say() { echo "== $*"; }
die() {
  echo "cross/build.sh: $*" >&2
  exit 1
}
usage() {
  sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' cross/build.sh >&2
  exit 2
}

# CPU is what zig calls the least processor of the target, MARCH what gcc does (32-bit ARM only: see cc-arm.sh).
CPU=
MARCH=
case ${1:-} in
  x86_64 | x86_64-unknown-linux-musl) TARGET=x86_64-unknown-linux-musl ;;
  aarch64 | aarch64-unknown-linux-musl) TARGET=aarch64-unknown-linux-musl ;;
  armv7 | armv7-unknown-linux-musleabihf) TARGET=armv7-unknown-linux-musleabihf CPU=generic+v7a+vfp3-d32+thumb2-neon MARCH=armv7-a+fp ;;
  armv6 | arm-unknown-linux-musleabihf) TARGET=arm-unknown-linux-musleabihf CPU=generic+v6+strict_align+vfp2-d32 MARCH=armv6+fp ;;
  riscv64 | riscv64gc-unknown-linux-musl) TARGET=riscv64gc-unknown-linux-musl ;;
  *) usage ;;
esac
shift
PROFILE=${PROFILE:-dist}
RECORD=
PROGRAMS=()
for word in "$@"; do
  case $word in
    dist | release | ci) PROFILE=$word ;;
    --collector) PROGRAMS+=(tacit-agent tacit-netns tacit-collector tacit) ;;
    --record) RECORD=yes ;;
    tacit-agent | tacit-netns | tacit-collector | tacit) PROGRAMS+=("$word") ;;
    *) usage ;;
  esac
done
[ ${#PROGRAMS[@]} -gt 0 ] || PROGRAMS=(tacit-agent tacit-netns)

TOOLS=${TACIT_CROSS_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/tacit/cross}
TARGET_DIR=${CARGO_TARGET_DIR:-target}
# With backtraces what is built and run on the way is up to twenty times slower.
export RUST_BACKTRACE=0
STD=()

# zig is compiler, C library and linker for all targets. Both are wheels with a program in them: nothing is compiled here.
tools() {
  local venv=$TOOLS/venv-$ZIGLANG-$ZIGBUILD
  exec 9>"$TOOLS/lock"
  flock 9
  if [ ! -e "$venv/made" ]; then
    say "zig $ZIGLANG and cargo-zigbuild $ZIGBUILD come to $venv"
    rm -rf "$venv"
    python3 -m venv "$venv" || die "python3 makes no virtual environment; Debian has that in python3-venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: "ziglang==$ZIGLANG" "cargo-zigbuild==$ZIGBUILD"
    touch "$venv/made"
  fi
  exec 9>&-
  export PATH="$venv/bin:$PATH"
  export CARGO_ZIGBUILD_CACHE_DIR=$TOOLS/zigbuild ZIG_GLOBAL_CACHE_DIR=$TOOLS/zig ZIG_LOCAL_CACHE_DIR=$TOOLS/zig
  mkdir -p "$CARGO_ZIGBUILD_CACHE_DIR" "$ZIG_GLOBAL_CACHE_DIR"
}

has_std() {
  local folder
  folder=$(rustc --print target-libdir --target "$TARGET" 2>/dev/null) || return 1
  compgen -G "$folder/libstd-*.rlib" >/dev/null
}

# The standard library comes from rustup where it is served …
std_is_served() {
  has_std || { command -v rustup >/dev/null && rustup target add "$TARGET" >"$TOOLS/rustup-$TARGET.log" 2>&1 && has_std; }
}

# … and is built along with the program where it is not.
standard_library() {
  std_is_served && return
  say "no standard library is served for $TARGET: it is built too"
  [ -e "$(rustc --print sysroot)/lib/rustlib/src/rust/library/std/Cargo.toml" ] || rustup component add rust-src ||
    die "the source of the standard library is missing: rustup component add rust-src"
  # A panic of a model is caught, so what unwinds is needed.
  STD=(-Z build-std=std,panic_unwind)
  export RUSTC_BOOTSTRAP=1
  # Start-up objects of musl come with a served standard library; here they are zig's.
  RUSTFLAGS+=" -C link-self-contained=no"
}

arm_compiler() {
  command -v arm-linux-gnueabihf-gcc >/dev/null ||
    die "arm-linux-gnueabihf-gcc is missing: apt install gcc-arm-linux-gnueabihf libc6-dev-armhf-cross"
  export "CC_${TARGET//-/_}=$PWD/cross/cc-arm.sh"
  export TACIT_ZIG_CPU=$CPU TACIT_GCC_MARCH=$MARCH
}

# $1: a program. Each is built alone, so that no feature of another makes it larger.
build() {
  say "$1 for $TARGET ($PROFILE)"
  if [ "$LINKER" = native ]; then
    cargo build --locked --profile "$PROFILE" --target "$TARGET" -p "$1"
  else
    cargo-zigbuild zigbuild --locked --profile "$PROFILE" --target "$TARGET" "${STD[@]}" -p "$1"
  fi
}

# Prints target, profile, program, bytes, and bytes when it is compressed as packages are, about.
size() {
  local program=$TARGET_DIR/$TARGET/$PROFILE/$1
  [ -x "$program" ] || die "$program was not built"
  local needs
  needs=$(readelf -d "$program" | grep NEEDED) && die "$program is not static: $needs"
  printf '%s\t%s\t%s\t%s\t%s\n' "$TARGET" "$PROFILE" "$1" "$(stat -c %s "$program")" "$(gzip -9c "$program" | wc -c)"
}

# Puts lines of `size` into the table, in the place of what it had for the same program.
record() {
  local table=cross/sizes.tsv new=$1 fresh
  fresh=$(mktemp)
  {
    printf 'target\tprofile\tprogram\tbytes\tgzip\n'
    {
      [ ! -e "$table" ] || awk -F '\t' 'NR == FNR { made[$1 FS $2 FS $3] = 1; next } FNR > 1 && !(($1 FS $2 FS $3) in made)' "$new" "$table"
      cat "$new"
    } | sort
  } >"$fresh"
  cat "$fresh" >"$table"
  rm -f "$fresh"
}

LINKER=zig
mkdir -p "$TOOLS"
if [ "$TARGET" = "$(uname -m)-unknown-linux-musl" ] && command -v musl-gcc >/dev/null && std_is_served; then
  # This machine's own: any C compiler will do, and the system's linker packs relocations (.cargo/config.toml).
  LINKER=native
else
  # zig refuses the flag of .cargo/config.toml (-z pack-relative-relocs); RUSTFLAGS stand in the place of what is configured.
  export RUSTFLAGS="${RUSTFLAGS:-} -C target-feature=+crt-static"
  tools
  standard_library
  [ -z "$CPU" ] || arm_compiler
fi

for program in "${PROGRAMS[@]}"; do
  build "$program"
done
SIZES=$(mktemp)
trap 'rm -f "$SIZES"' EXIT
for program in "${PROGRAMS[@]}"; do
  size "$program" >>"$SIZES"
done
[ -z "$RECORD" ] || record "$SIZES"
say "sizes in bytes: target, profile, program, as it is, compressed"
cat "$SIZES"
