#!/usr/bin/env bash
# Installs, boots, breaks, upgrades and purges the packages in a Debian of its own: packaging/test.sh [amd64|arm64]
#
# The machine is a systemd-nspawn container whose systemd is its first process; arm64 runs under qemu-user and takes the short way (no
# watchdog, no seccomp, no netlink there). The collector runs on this host. Both are in network namespaces that this script makes, joined by a
# cable of their own: nothing reaches another network. Needs root, the packages of packaging/build.sh (of amd64 too: the host's
# collector is taken out of them) and, once, Debian's archive. Ends with "package test ARCH: N passed, N failed", at the first failure.
#
#   PACKAGE_TEST_DIR   where machines are kept between runs (default /var/tmp/tacit-package-test)
#   OUT                where packages are (default target/packaging/out)
set -euo pipefail
cd "$(dirname "$0")/.."

ARCH=${1:-amd64}
case $ARCH in
  amd64) TARGET=x86_64-unknown-linux-musl SLOW=1 ;;
  arm64) TARGET=aarch64-unknown-linux-musl SLOW=5 ;;
  *)
    echo "usage: packaging/test.sh [amd64|arm64]" >&2
    exit 2
    ;;
esac
OUT=${OUT:-target/packaging/out}
PACKAGES=$OUT/$TARGET
WORK=${PACKAGE_TEST_DIR:-/var/tmp/tacit-package-test}/$ARCH
BASE=$WORK/base
RUN=$WORK/run
HOST_BIN=$RUN/host/usr/bin
HOST_NS=tacit-host-$ARCH
NODE_NS=tacit-node-$ARCH
MACHINE=tacit-$ARCH
LOOK=$PWD/packaging/test/look.py
HOLD=$PWD/packaging/test/hold_thread.py
# Detection of a watchdog's end is waited for; the shipped 90 s would make that minutes.
WATCHDOG=20

# shellcheck source=packaging/test/lib.sh
. packaging/test/lib.sh

requirements() {
  [ "$(id -u)" -eq 0 ] || { echo "packaging/test.sh needs root" >&2; exit 2; }
  local missing=()
  command -v systemd-nspawn >/dev/null || missing+=(systemd-container)
  command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
  command -v ip >/dev/null || missing+=(iproute2)
  command -v nsenter >/dev/null || missing+=(util-linux)
  command -v python3 >/dev/null || missing+=(python3)
  if [ "$ARCH" = arm64 ] && [ "$(dpkg --print-architecture)" != arm64 ]; then
    command -v qemu-aarch64-static >/dev/null || missing+=(qemu-user-static binfmt-support)
  fi
  if [ ${#missing[@]} -gt 0 ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=400 "${missing[@]}" >/dev/null
  fi
  if [ "$ARCH" = arm64 ] && [ "$(dpkg --print-architecture)" != arm64 ]; then
    mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
    [ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] || update-binfmts --enable qemu-aarch64
  fi
  AGENT_DEB=$(only "$PACKAGES"/tacit-agent_*.deb)
  COLLECTOR_DEB=$(only "$PACKAGES"/tacit-collector_*.deb)
  HOST_DEB=$(only "$OUT"/x86_64-unknown-linux-musl/tacit-collector_*.deb)
}

only() {
  [ $# -eq 1 ] && [ -e "$1" ] || { echo "one package is needed, not: $* (packaging/build.sh $TARGET makes it)" >&2; exit 2; }
  echo "$1"
}

prepare() {
  mkdir -p "$WORK"
  rm -rf "$RUN"
  mkdir -p "$RUN/host"
  : >"$WORK/console.log"
  : >"$WORK/collector.log"
  trap clean_up EXIT
  trap 'exit 130' INT TERM
  make_base
  make_network
  dpkg-deb -x "$HOST_DEB" "$RUN/host"
  cat >"$WORK/collector.toml" <<TOML
data_dir = "$RUN/collector"
# Beyond loopback, but in a network that has two ends and no way out.
insecure = true
[mqtt]
listen = "$HERE:1883"
[http]
listen = "$HERE:8420"
[access]
required = false
[map]
reverse_dns = false
TOML
}

# The package with a newer version, and with a configuration file that differs as that of a real release would.
newer() {
  local folder=$RUN/newer
  rm -rf "$folder"
  dpkg-deb -R "$1" "$folder"
  sed -i "s/^Version: .*/&+next/" "$folder/DEBIAN/control"
  echo "# A comment that is new in this version." >>"$folder/etc/tacit/agent.toml"
  (cd "$folder" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
  dpkg-deb --root-owner-group -b "$folder" "$RUN/node/root/packages/newer.deb" >/dev/null
}

install_package() {
  in_node apt-get -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold install "/packages/$(basename "$1")" >"$RUN/install.log" 2>&1 ||
    { cat "$RUN/install.log" >&2; return 1; }
}

# ---------------------------------------------------------------- the story

without_systemd() {
  make_root chroot
  local root=$RUN/chroot/root
  check "it installs where systemd does not run" chroot "$root" dpkg -i "/packages/$(basename "$AGENT_DEB")"
  check "it is enabled for the first boot" test -L "$root/etc/systemd/system/multi-user.target.wants/tacit-agent.service"
  check "its user is there" grep -q '^tacit-agent:' "$root/etc/passwd"
  check "it purges there" chroot "$root" dpkg --purge tacit-agent
  refute "its user is gone" grep -q '^tacit-agent:' "$root/etc/passwd"
  umount "$root"
}

# A configuration with a mistake lies there before the package comes.
over_a_broken_configuration() {
  in_node mkdir -p /etc/tacit
  in_node sh -c 'printf "[sampling]\nintervall = \"1s\"\n" >/etc/tacit/agent.toml'
  check "it installs over a broken configuration" install_package "$AGENT_DEB"
  check "installing names the file" grep -q "/etc/tacit/agent.toml" "$RUN/install.log"
  check "installing names line and key" grep -q "line 2.*intervall" "$RUN/install.log"
  refute "it is not active with it" is_active
  wait_for 30 "the log says the same" log_says "intervall"
  # What the package brought lies beside it.
  in_node sh -c "sed 's|^broker = .*|broker = \"mqtt://$HERE:1883\"|; s|^alarm_budget|#mine\n&|' /etc/tacit/agent.toml.dpkg-dist >/etc/tacit/agent.toml"
  in_node rm /etc/tacit/agent.toml.dpkg-dist
  check "the mended one is good" in_node tacit-agent check-config
  wait_for 60 "it starts by itself once that is mended" is_active
}

as_promised() {
  check "it is enabled" in_node systemctl --quiet is-enabled tacit-agent
  check "its user is its own" same "$(in_node ps -o user:32= -p "$(property MainPID)" | tr -d ' ')" tacit-agent
  check "it has no capability" in_node grep -q '^CapEff:[[:space:]]*0*$' "/proc/$(property MainPID)/status"
  check "its state is its own" same "$(in_node stat -c '%U %a' /var/lib/tacit-agent)" "tacit-agent 700"
  check "drop-ins have their place" in_node test -d /etc/tacit/agent.d
  check "the helper for containers is off" same "$(in_node systemctl is-enabled tacit-netns.socket || true)" disabled
  check "man pages are there" in_node test -e /usr/share/man/man1/tacit-agent.1.gz
}

events_arrive() {
  wait_for 90 "the node is known and connected" online "$NODE"
  in_node systemctl reset-failed 'tacit-test-*' 2>/dev/null || true
  in_node systemd-run --quiet --unit="tacit-test-$1" /bin/false || true
  wait_for 60 "what happened on the node arrives: $1" has_event "tacit-test-$1"
}

# Each source under the sandbox, beside what root sees without it.
sources_in_the_sandbox() {
  local properties=() line
  while IFS= read -r line; do
    properties+=(-p "$line")
  done < <(sed -n '/^\[Service\]/,/^\[/p' "$RUN/node/root/usr/lib/systemd/system/tacit-agent.service" |
    grep -E '^(User|Group|StateDirectory|WorkingDirectory|UMask|CapabilityBoundingSet|AmbientCapabilities|NoNewPrivileges|Protect|Private|DevicePolicy|KeyringMode|LockPersonality|MemoryDenyWriteExecute|Restrict(Realtime|SUIDSGID|Namespaces|AddressFamilies)|SystemCall)')
  if [ "${1:-}" = full ]; then
    while IFS= read -r line; do
      properties+=(-p "$line")
    done < <(grep -E '^[A-Z]' "$RUN/node/root/usr/share/tacit-agent/tacit-agent-full.conf")
  fi
  in_node tacit-agent doctor --json >"$RUN/root.json"
  in_node systemd-run --quiet --wait --pipe --collect "${properties[@]}" /usr/bin/tacit-agent doctor --json >"$RUN/confined.json"
  "$LOOK" sources "$RUN/root.json" "$RUN/confined.json" >"$RUN/blind.txt"
  # docs/decisions/018-sandbox.md: what the sandbox hides from the agent, and nothing else.
  local known='access disk use of other processes'
  [ "${1:-}" = full ] || known+="|access owners of other users' sockets"
  grep -vE "^($known)	" "$RUN/blind.txt" >"$RUN/unknown.txt" || true
  if [ -s "$RUN/unknown.txt" ]; then
    cat "$RUN/unknown.txt" >&2
    fail "the sandbox ${1:-} hides more than is written down"
  fi
  PASSED=$((PASSED + 1))
  say "ok: the sandbox ${1:-} hides what is written down and no more"
}

# $1 words, $2… how it is made to hang.
hang() {
  local words=$1 before since pid
  before=$(property NRestarts)
  since=$(date +%s)
  pid=$(agent_on_host) || fail "the agent's process is not found on this host"
  shift
  "$@" "$pid"
  wait_for $((WATCHDOG + 75)) "systemd sees it: $words" watchdog_saw "$since"
  [ -z "$HOLDER" ] || { kill "$HOLDER" 2>/dev/null || true; wait "$HOLDER" 2>/dev/null || true; HOLDER=; }
  wait_for 60 "it is restarted: $words" restarted_since "$before"
}

stop_all() { kill -STOP "$1"; }
hold_sampling() {
  "$HOLD" "$1" tacit-sample >"$RUN/hold.log" 2>&1 &
  HOLDER=$!
  wait_for 10 "one thread stands still" grep -q "stands still" "$RUN/hold.log"
}

watched() {
  check "it is watched" same "$(property WatchdogUSec)" "1min 30s"
  in_node mkdir -p /etc/systemd/system/tacit-agent.service.d
  in_node sh -c "printf '[Service]\nWatchdogSec=${WATCHDOG}s\nRestartSec=2s\n' >/etc/systemd/system/tacit-agent.service.d/test.conf"
  in_node systemctl daemon-reload
  in_node systemctl restart tacit-agent
  hang "all of it is stopped" stop_all
  hang "its sampling thread alone stands still" hold_sampling
  in_node rm /etc/systemd/system/tacit-agent.service.d/test.conf
  in_node rmdir /etc/systemd/system/tacit-agent.service.d
  in_node systemctl daemon-reload
  in_node systemctl restart tacit-agent
  wait_for 60 "it runs on" is_active
}

reloads() {
  local before
  before=$(property MainPID)
  check "it reloads" in_node systemctl reload tacit-agent
  check "reloading restarts nothing" same "$(property MainPID)" "$before"
  check "it is active after reloading" is_active
}

# $1: orderly, or how a power cut would do it.
reboots() {
  local began points
  stop_collector
  in_node systemd-run --quiet --unit="tacit-test-away-$1" /bin/false || true
  wait_for 60 "what cannot be sent waits on the disk" in_node sh -c 'find /var/lib/tacit-agent/outbox -type f -size +0 | grep -q .'
  sleep 10
  began=$SECONDS
  if [ "$1" = orderly ]; then
    in_node systemctl reboot || true
  else
    kill -KILL "$LEADER"
  fi
  halted
  boot
  wait_for 90 "it is active after the reboot ($1)" is_active
  start_collector
  wait_for 120 "the same node comes back ($1, $((SECONDS - began)) s)" online "$NODE"
  check "no other node appeared" same "$(ask nodes | "$LOOK" only)" "$NODE"
  wait_for 120 "what waited arrives ($1)" has_event "tacit-test-away-$1"
  points=$(ask nodes | "$LOOK" points "$NODE")
  check "it knows what it had learned ($points points)" test "$points" -gt 0
}

upgrades() {
  newer "$AGENT_DEB"
  in_node systemctl disable --quiet tacit-agent
  check "it upgrades" in_node dpkg --force-confold -i /packages/newer.deb
  check "the configuration is as somebody left it" in_node grep -q '^#mine$' /etc/tacit/agent.toml
  check "the new one lies beside it" in_node grep -q "new in this version" /etc/tacit/agent.toml.dpkg-dist
  check "it runs after the upgrade" is_active
  check "what was disabled stays disabled" same "$(in_node systemctl is-enabled tacit-agent || true)" disabled
  in_node systemctl enable --quiet tacit-agent
  events_arrive upgraded
}

with_capabilities() {
  in_node mkdir -p /etc/systemd/system/tacit-agent.service.d
  in_node ln -s /usr/share/tacit-agent/tacit-agent-full.conf /etc/systemd/system/tacit-agent.service.d/full.conf
  in_node systemctl daemon-reload
  in_node systemctl restart tacit-agent
  check "with the drop-in it has two capabilities" in_node grep -q '^CapEff:[[:space:]]*0000000000081000$' "/proc/$(property MainPID)/status"
  sources_in_the_sandbox full
  check "the helper for containers starts" in_node systemctl enable --now --quiet tacit-netns.socket
  wait_for 60 "the agent asks it" same_active tacit-netns.service
  events_arrive full
}
same_active() { [ "$(property ActiveState "$1")" = active ]; }

purges() {
  check "removing keeps state" in_node sh -c 'dpkg --remove tacit-agent >/dev/null && test -d /var/lib/tacit-agent && test -e /etc/tacit/agent.toml'
  refute "the program is gone" in_node test -e /usr/bin/tacit-agent
  check "purging works" in_node dpkg --purge tacit-agent
  inventory >"$RUN/after.txt"
  # Ours, to make units fail.
  grep -v 'tacit-test' "$RUN/after.txt" >"$RUN/left.txt" || true
  diff "$RUN/before.txt" "$RUN/left.txt" >"$RUN/left.diff" || fail "purging leaves this behind: $(cat "$RUN/left.diff")"
  PASSED=$((PASSED + 1))
  say "ok: purging leaves nothing"
}

the_collector() {
  check "the collector installs" install_package "$COLLECTOR_DEB"
  wait_for 30 "the collector is active" same_active tacit-collector.service
  wait_for 30 "it answers in the machine" in_node tacit status
  check "its data is its own" same "$(in_node stat -c '%U %a' /var/lib/tacit-collector)" "tacit-collector 700"
  check "its database is where it belongs" in_node test -s /var/lib/tacit-collector/tacit.db
  check "the collector purges" in_node dpkg --purge tacit-collector
  inventory | grep -v 'tacit-test' >"$RUN/left.txt"
  diff "$RUN/before.txt" "$RUN/left.txt" >"$RUN/left.diff" || fail "purging the collector leaves this behind: $(cat "$RUN/left.diff")"
}

requirements
prepare
say "package test on $ARCH: $(basename "$AGENT_DEB")"
[ "$ARCH" != amd64 ] || without_systemd
make_root node
start_collector
boot
inventory >"$RUN/before.txt"
NODE=$MACHINE

over_a_broken_configuration
as_promised
events_arrive first
if [ "$ARCH" = amd64 ]; then
  sources_in_the_sandbox
  reloads
  watched
fi
# A minute or two of a quiet machine: the first model is learned.
sleep $((100 * SLOW / 2 + 50))
reboots orderly
[ "$ARCH" != amd64 ] || reboots cut
upgrades
[ "$ARCH" != amd64 ] || with_capabilities
purges
[ "$ARCH" != amd64 ] || the_collector
in_node systemctl poweroff || true
halted
stop_collector
echo "package test $ARCH: $PASSED passed, 0 failed"
