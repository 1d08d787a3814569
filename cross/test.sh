#!/usr/bin/env bash
# Tries the agent of another machine here, under qemu-user: cross/test.sh TARGET [PROFILE]
#
# It says what it is, looks at the machine, samples, computes the scores that x86-64 computes and catches a panic; it keeps what it
# cannot send through a stop and a kill and delivers it, in order, to a collector on this host; and it speaks TLS, with certificates on
# both sides, with a Mosquitto on this host that has the collector behind it. Everything is on loopback. Ends with
# "cross test TARGET: N passed, N failed", at the first failure. Times say nothing here: it is emulated.
#
#   PROFILE        of the agent (dist; also by the variable PROFILE), built before by cross/build.sh
#   AGENT          the agent, when it is elsewhere
#   HOST_BIN       folder with tacit-collector and tacit for this host; otherwise the newest that were built, or they are built
#   CROSS_TEST_DIR where the test works (a temporary folder); kept when it fails
set -euo pipefail
cd "$(dirname "$0")/.."

# CPU is the least processor that the target promises to run on.
case ${1:-} in
  x86_64 | x86_64-unknown-linux-musl) TARGET=x86_64-unknown-linux-musl ARCH=x86_64 EMULATOR=qemu-x86_64 CPU= ;;
  aarch64 | aarch64-unknown-linux-musl) TARGET=aarch64-unknown-linux-musl ARCH=aarch64 EMULATOR=qemu-aarch64 CPU= ;;
  armv7 | armv7-unknown-linux-musleabihf) TARGET=armv7-unknown-linux-musleabihf ARCH=arm EMULATOR=qemu-arm CPU=cortex-a7 ;;
  armv6 | arm-unknown-linux-musleabihf) TARGET=arm-unknown-linux-musleabihf ARCH=arm EMULATOR=qemu-arm CPU=arm1176 ;;
  riscv64 | riscv64gc-unknown-linux-musl) TARGET=riscv64gc-unknown-linux-musl ARCH=riscv64 EMULATOR=qemu-riscv64 CPU= ;;
  *)
    echo "usage: cross/test.sh x86_64|aarch64|armv7|armv6|riscv64 [PROFILE]" >&2
    exit 2
    ;;
esac
PROFILE=${2:-${PROFILE:-dist}}
TARGET_DIR=${CARGO_TARGET_DIR:-target}
AGENT=${AGENT:-$TARGET_DIR/$TARGET/$PROFILE/tacit-agent}
RUN=${CROSS_TEST_DIR:-$(mktemp -d)}
LOOK=cross/look.py
NODE=cross-${CPU:-$ARCH}
NODE=${NODE//_/-}
PASSED=0
# What this script started.
NODE_PID=
COLLECTOR_PID=
LISTENER_PID=
BROKER_PID=
# Whoever runs this may have set them for something else.
unset TACIT_COLLECTOR TACIT_LOG TACIT_TOKEN
# A model runs up to twenty times slower with backtraces.
export RUST_BACKTRACE=0
# Which pages of a program can be dropped is a matter of the kernel; an emulator's are not those of the program.
export TACIT_KEEP_PAGES=1

say() { printf '%s  %s\n' "$(date +%T)" "$*"; }

fail() {
  local log
  echo "FAILED: $*" >&2
  for log in "$RUN"/*.log; do
    [ -s "$log" ] || continue
    echo "--- the end of $log" >&2
    tail -n 25 "$log" | cut -c -400 >&2
  done
  echo "cross test $TARGET: $PASSED passed, 1 failed" >&2
  exit 1
}

# check WORDS COMMAND…: it has to succeed.
check() {
  local words=$1
  shift
  "$@" || fail "$words ($*)"
  PASSED=$((PASSED + 1))
  say "ok: $words"
}

# wait_for SECONDS WORDS COMMAND…: it has to succeed within that time.
wait_for() {
  local until=$((SECONDS + $1)) words=$2 began=$SECONDS
  shift 2
  until "$@" >/dev/null 2>"$RUN/last-try.log"; do
    [ "$SECONDS" -lt "$until" ] || fail "$words: not within $((until - began)) s ($*)"
    sleep 1
  done
  PASSED=$((PASSED + 1))
  say "ok: $words (after $((SECONDS - began)) s)"
}

ended() { ! kill -0 "$1" 2>/dev/null; }

# stop SIGNAL PID: ends what this script started, and waits for it.
stop() {
  [ -n "$2" ] || return 0
  kill "-$1" "$2" 2>/dev/null || true
  for _ in $(seq 150); do
    ended "$2" && break
    sleep 0.2
  done
  kill -KILL "$2" 2>/dev/null || true
  wait "$2" 2>/dev/null || true
}

clean_up() {
  local code=$?
  set +e
  for pid in "$NODE_PID" "$LISTENER_PID" "$COLLECTOR_PID" "$BROKER_PID"; do
    [ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null
  done
  wait 2>/dev/null
  if [ "$code" -eq 0 ]; then
    [ -n "${CROSS_TEST_DIR:-}" ] || rm -rf "$RUN"
  else
    echo "what is left of it: $RUN" >&2
  fi
  exit "$code"
}

requirements() {
  [ -x "$AGENT" ] || { echo "cross/test.sh: there is no $AGENT; cross/build.sh ${TARGET%%-*} makes it" >&2; exit 2; }
  local program
  for program in mosquitto_sub openssl python3 readelf; do
    command -v "$program" >/dev/null || { echo "cross/test.sh: $program is missing" >&2; exit 2; }
  done
  MOSQUITTO=$(PATH=$PATH:/usr/sbin command -v mosquitto) || { echo "cross/test.sh: mosquitto is missing" >&2; exit 2; }
  EMULATE=()
  case $(uname -m) in
    "$ARCH" | "$ARCH"v*) ;;
    *)
      EMULATOR=$(command -v "$EMULATOR-static" || command -v "$EMULATOR") ||
        { echo "cross/test.sh: $EMULATOR-static is missing: apt install qemu-user-static" >&2; exit 2; }
      EMULATE=("$EMULATOR" ${CPU:+-cpu "$CPU"})
      ;;
  esac
  mkdir -p "$RUN"
  host_programs
}

# Collector and operator's command for this host.
host_programs() {
  local found=
  if [ -z "${HOST_BIN:-}" ]; then
    # shellcheck disable=SC2012
    found=$(ls -t "$TARGET_DIR"/{ci,release,dist,"$(uname -m)-unknown-linux-musl"/{dist,release,ci}}/tacit-collector 2>/dev/null | head -n 1) || true
    HOST_BIN=${found%/*}
    if [ -z "$HOST_BIN" ] || [ ! -x "$HOST_BIN/tacit" ]; then
      say "the collector is built for this host"
      cargo build --quiet --locked --profile ci -p tacit-collector -p tacit
      HOST_BIN=$TARGET_DIR/ci
    fi
  fi
  [ -x "$HOST_BIN/tacit-collector" ] && [ -x "$HOST_BIN/tacit" ] ||
    { echo "cross/test.sh: $HOST_BIN lacks tacit-collector or tacit" >&2; exit 2; }
}

agent() { "${EMULATE[@]}" "$AGENT" "$@"; }
# $1: names the log.
start_node() {
  "${EMULATE[@]}" "$AGENT" run --config "$RUN/$1.toml" </dev/null >>"$RUN/$1.log" 2>&1 &
  NODE_PID=$!
}
stop_node() {
  stop "$1" "$NODE_PID"
  NODE_PID=
}

# ---------------------------------------------------------------- what it is and what it sees

the_program() {
  local version
  version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' Cargo.toml)
  check "it is static" no_libraries
  check "it says its version" test "$(agent --version)" = "tacit-agent $version"
  check "it reads the shipped configuration" quiet agent check-config packaging/agent.toml
  check "doctor looks at the machine" looks doctor "$ARCH" -- doctor --json
  check "sample gives numbers" looks sample -- sample --once --json
}
quiet() { "$@" >/dev/null; }
no_libraries() { [ -z "$(readelf -d "$AGENT" | sed -n /NEEDED/p)" ]; }
# look.py's question, then -- and what the agent is asked; the defaults, whatever this host has in /etc/tacit.
looks() {
  local question=()
  while [ "$1" != -- ]; do
    question+=("$1")
    shift
  done
  shift
  agent "$@" --config packaging/agent.toml --data "$RUN/look" >"$RUN/${question[0]}.json" 2>"$RUN/${question[0]}.log" || return 1
  "$LOOK" "${question[@]}" <"$RUN/${question[0]}.json"
}

# ---------------------------------------------------------------- the same scores as x86-64

the_scores() {
  if [ "$ARCH" = arm ]; then
    # An emulator may hide what the processor has (/proc/cpuinfo), and the runtime looks there: both kinds of kernels are tried.
    TRACT_CPU_ARM32_NEON=off check "the scores of x86-64, with VFP" agrees vfp
    [ "$CPU" = arm1176 ] || TRACT_CPU_ARM32_NEON=on check "the scores of x86-64, with NEON" agrees neon
  else
    check "the scores of x86-64" agrees "$ARCH"
  fi
}
agrees() {
  agent agreement cross/recording.csv --against cross/scores.json >"$RUN/agreement-$1.json" 2>"$RUN/agreement-$1.log" || return 1
  python3 -c '
import json, sys
report = json.load(sys.stdin)
largest = max(report["largest"], key=lambda one: one["relative"] or one["absolute"] * 1e-6)
print("   {points} points, {transitions} transitions; furthest apart: ".format(**report), end="")
print("{name}, {absolute:.1e} absolute, {relative:.1e} relative".format(**largest))
' <"$RUN/agreement-$1.json"
}

# ---------------------------------------------------------------- through the outbox to a collector on this host

PROBES=6

outbox() {
  local folder=$RUN/node/outbox probe port
  # shellcheck disable=SC2046
  set -- $("$LOOK" ports $((PROBES + 2)))
  MQTT=$1 HTTP=$2
  shift 2
  cat >"$RUN/outbox.toml" <<TOML
[node]
id = "$NODE"
data_dir = "$RUN/node"
[publish]
broker = "mqtt://127.0.0.1:$MQTT"
encoding = "json"
profile = "full"
backoff_max = "2s"
[context]
disable = ["kernel-log", "units", "journal", "packages"]
TOML
  # Nobody listens there: each becomes an event after three questions.
  probe=0
  for port in "$@"; do
    probe=$((probe + 1))
    printf '[[probe]]\nname = "nobody-%s"\ntarget = "tcp://127.0.0.1:%s"\ninterval = "1s"\ntimeout = "1s"\n' "$probe" "$port" >>"$RUN/outbox.toml"
  done

  start_node outbox
  wait_for 120 "without a collector, events wait on the disk" "$LOOK" more "$folder" "$PROBES"
  # The first report of the agent itself comes after 20 s; it stays in memory until the agent stops.
  sleep 30
  stop_node TERM
  "$LOOK" held "$folder" "$RUN/first.json" >"$RUN/first.txt"
  say "stopped: $(cat "$RUN/first.txt") wait"
  check "events wait, and the rest" holds "$RUN/first.txt"
  start_node outbox
  wait_for 120 "started again, more events join them" "$LOOK" more "$folder" "$PROBES" "$RUN/first.json"
  check "what waited still waits" "$LOOK" kept "$RUN/first.json" "$folder"
  stop_node KILL
  say "killed: $("$LOOK" held "$folder" "$RUN/second.json") wait"
  check "what waited survives a kill" "$LOOK" kept "$RUN/first.json" "$folder"

  collector "" "$MQTT"
  listen "$MQTT"
  start_node outbox
  wait_for 180 "everything that waited arrives" "$LOOK" arrived "$RUN/second.json" "$RUN/arrivals.txt"
  wait_for 120 "and leaves the outbox" "$LOOK" sent "$RUN/second.json" "$folder"
  wait_for 60 "the collector knows the node" online
  stop_node TERM
  say "arrived: $("$LOOK" arrived "$RUN/second.json" "$RUN/arrivals.txt")"
  check "each stream in order, without a gap" "$LOOK" ordered "$RUN/arrivals.txt"
  stop TERM "$LISTENER_PID"
  LISTENER_PID=
  stop TERM "$COLLECTOR_PID"
  COLLECTOR_PID=
  check "all of it is stored" "$LOOK" stored "$RUN/second.json" "$RUN/collector/tacit.db"
}
holds() { grep -Eq '^([6-9]|[1-9][0-9]+) events, [1-9][0-9]* other messages$' "$1"; }

# collector EXTERNAL PORT: with the broker that is built in, at this port, or with one elsewhere.
collector() {
  rm -rf "$RUN/collector"
  {
    printf 'data_dir = "%s"\n[http]\nlisten = "127.0.0.1:%s"\n[map]\nreverse_dns = false\n[mqtt]\n' "$RUN/collector" "$HTTP"
    if [ -n "$1" ]; then printf 'external = "%s"\n' "$1"; else printf 'listen = "127.0.0.1:%s"\n' "$2"; fi
  } >"$RUN/collector.toml"
  "$HOST_BIN/tacit-collector" serve --config "$RUN/collector.toml" </dev/null >>"$RUN/collector.log" 2>&1 &
  COLLECTOR_PID=$!
  wait_for 60 "a collector runs here" ask status
}
ask() { "$HOST_BIN/tacit" "$1" --collector "http://127.0.0.1:$HTTP" --json; }
online() { ask nodes | "$LOOK" online "$NODE"; }

# Writes down what the broker hands on, from before the node comes: the collector's retained state shows that the subscription stands.
listen() {
  stdbuf -oL mosquitto_sub -V mqttv5 -h 127.0.0.1 -p "$1" -i Cross-Test -q 1 -F '%t %x' -t 'tacit/1/+/c/status' -t 'tacit/1/+/u/+/+' \
    </dev/null >"$RUN/arrivals.txt" 2>"$RUN/listener.log" &
  LISTENER_PID=$!
  wait_for 60 "somebody listens at its broker" grep -q '/c/status ' "$RUN/arrivals.txt"
}

# ---------------------------------------------------------------- TLS with certificates on both sides

tls() {
  local secure plain
  # shellcheck disable=SC2046
  set -- $("$LOOK" ports 3)
  secure=$1 plain=$2 HTTP=$3
  authority fleet
  authority stranger
  certificate server localhost 'subjectAltName = DNS:localhost, IP:127.0.0.1' serverAuth
  certificate node "$NODE" "subjectAltName = URI:tacit://default/$NODE" clientAuth
  cat >"$RUN/mosquitto.conf" <<CONF
user root
per_listener_settings true
log_type all
listener $secure 127.0.0.1
cafile $RUN/fleet.pem
certfile $RUN/server.pem
keyfile $RUN/server.key
require_certificate true
use_identity_as_username true
listener $plain 127.0.0.1
allow_anonymous true
CONF
  "$MOSQUITTO" -c "$RUN/mosquitto.conf" </dev/null >"$RUN/mosquitto.log" 2>&1 &
  BROKER_PID=$!
  wait_for 30 "a broker with TLS runs here" grep -q 'mosquitto version .* running' "$RUN/mosquitto.log"
  collector "mqtt://127.0.0.1:$plain" ""

  tls_node stranger "$RUN/stranger.pem" "$secure"
  start_node stranger
  wait_for 60 "a broker from a stranger's authority is not trusted, and the agent says so" grep -q "does not trust" "$RUN/stranger.log"
  stop_node TERM
  check "it told that broker nothing" no_session

  tls_node tls "$RUN/fleet.pem" "$secure"
  start_node tls
  wait_for 90 "a session with certificates on both sides" session
  wait_for 60 "the collector knows the node through it" online
  stop_node TERM
  stop TERM "$COLLECTOR_PID"
  COLLECTOR_PID=
  stop TERM "$BROKER_PID"
  BROKER_PID=
}
# The broker takes the name out of the certificate.
session() { grep -Eq "New client connected .* as $NODE \\(.*u'$NODE'" "$RUN/mosquitto.log"; }
no_session() { ! session; }

# tls_node NAME ROOTS PORT
tls_node() {
  cat >"$RUN/$1.toml" <<TOML
[node]
id = "$NODE"
data_dir = "$RUN/$1"
[publish]
broker = "mqtts://localhost:$3"
ca_file = "$2"
cert_file = "$RUN/node.pem"
key_file = "$RUN/node.key"
backoff_max = "2s"
TOML
}

# authority NAME: its root, in NAME.pem.
authority() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=cross test $1" \
    -addext "keyUsage = critical, keyCertSign, cRLSign" -keyout "$RUN/$1.key" -out "$RUN/$1.pem" 2>"$RUN/openssl.log"
}

# certificate NAME COMMON-NAME SAN USE: by the fleet's authority, in NAME.pem and NAME.key.
certificate() {
  printf '%s\nextendedKeyUsage = %s\nbasicConstraints = CA:FALSE\n' "$3" "$4" >"$RUN/$1.ext"
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$2" \
    -keyout "$RUN/$1.key" -out "$RUN/$1.csr" 2>>"$RUN/openssl.log"
  openssl x509 -req -in "$RUN/$1.csr" -CA "$RUN/fleet.pem" -CAkey "$RUN/fleet.key" -CAcreateserial -days 2 \
    -extfile "$RUN/$1.ext" -out "$RUN/$1.pem" 2>>"$RUN/openssl.log"
}

trap clean_up EXIT
trap 'exit 130' INT TERM
requirements
say "cross test of $TARGET ($PROFILE, $(stat -c %s "$AGENT") bytes): ${EMULATE[*]:-without an emulator}, collector from $HOST_BIN"
the_program
the_scores
outbox
tls
echo "cross test $TARGET: $PASSED passed, 0 failed"
