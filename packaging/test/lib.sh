# Helpers of packaging/test.sh: a Debian that boots, its network, and checks that fail loudly.
# shellcheck shell=bash disable=SC2034

PASSED=0
NSPAWN=
LEADER=
COLLECTOR=
HOLDER=

say() { printf '%s  %s\n' "$(date +%T)" "$*"; }

fail() {
  echo "FAILED: $*" >&2
  if running; then
    echo "--- the agent's log" >&2
    in_node journalctl --no-pager -u tacit-agent -n 60 >&2 || true
    in_node systemctl --no-pager status tacit-agent >&2 || true
  fi
  echo "--- the console's end ($WORK/console.log)" >&2
  tail -n 20 "$WORK/console.log" >&2 || true
  echo "--- the collector's end ($WORK/collector.log)" >&2
  tail -n 20 "$WORK/collector.log" >&2 || true
  echo "package test $ARCH: $PASSED passed, 1 failed" >&2
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

# refute WORDS COMMAND…: it must not succeed.
refute() {
  local words=$1
  shift
  ! "$@" || fail "$words ($*)"
  PASSED=$((PASSED + 1))
  say "ok: $words"
}

# wait_for SECONDS WORDS COMMAND…: it has to succeed within that time.
wait_for() {
  local until=$((SECONDS + $1 * SLOW)) words=$2 began=$SECONDS
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$until" ] || fail "$words: not within $((until - began)) s ($*)"
    sleep 1
  done
  PASSED=$((PASSED + 1))
  say "ok: $words (after $((SECONDS - began)) s)"
}

same() { [ "$1" = "$2" ] || { echo "  is:     $1" >&2; echo "  wanted: $2" >&2; return 1; }; }

# ---------------------------------------------------------------- network: two namespaces of our own and a cable between them

HERE=10.231.77.1
THERE=10.231.77.2

make_network() {
  ip netns add "$HOST_NS"
  ip netns add "$NODE_NS"
  ip link add "tpt0$ARCH" netns "$HOST_NS" type veth peer name "tpt1$ARCH" netns "$NODE_NS"
  ip -n "$HOST_NS" address add "$HERE/30" dev "tpt0$ARCH"
  ip -n "$NODE_NS" address add "$THERE/30" dev "tpt1$ARCH"
  local of
  for of in "$HOST_NS lo" "$HOST_NS tpt0$ARCH" "$NODE_NS lo" "$NODE_NS tpt1$ARCH"; do
    # shellcheck disable=SC2086
    set -- $of
    ip -n "$1" link set "$2" up
  done
}

# ---------------------------------------------------------------- the machine

# A Debian that boots, made once and kept; each run works on a copy on top of it.
make_base() {
  [ -e "$BASE/.made" ] && return
  say "making a Debian for $ARCH (minutes; kept in $BASE)"
  rm -rf "$BASE"
  mmdebstrap --quiet --variant=minbase --architectures="$ARCH" --include=systemd,systemd-sysv,dbus,iproute2,procps bookworm "$BASE"
  # Nothing that would look for updates, and a journal that stays.
  systemctl --root="$BASE" mask apt-daily.timer apt-daily-upgrade.timer >/dev/null 2>&1
  mkdir -p "$BASE/var/log/journal"
  # These were this host's.
  rm -f "$BASE/etc/hostname" "$BASE/etc/resolv.conf"
  touch "$BASE/.made"
}

make_root() {
  mkdir -p "$RUN/$1/up" "$RUN/$1/work" "$RUN/$1/root"
  mount -t overlay overlay -o "lowerdir=$BASE,upperdir=$RUN/$1/up,workdir=$RUN/$1/work" "$RUN/$1/root"
  rm -f "$RUN/$1/root/.made"
  mkdir "$RUN/$1/root/packages"
  cp "$PACKAGES"/*.deb "$RUN/$1/root/packages/"
}

running() { [ -n "$LEADER" ] && [ -d "/proc/$LEADER" ]; }

# Runs a command in the machine.
in_node() {
  nsenter --target "$LEADER" --mount --uts --ipc --net --pid --cgroup -- /usr/bin/env -i \
    PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
}

is_init() { LEADER=$(pgrep -P "$NSPAWN" | tail -n 1) && [ -n "$LEADER" ] && grep -qE '^NSpid:.*[[:space:]]1$' "/proc/$LEADER/status"; }

# Up, with or without a unit of its own that failed.
is_up() {
  local state
  state=$(in_node systemctl is-system-running) || true
  [ "$state" = running ] || [ "$state" = degraded ]
}

boot() {
  # It shares the network namespace that it is started in.
  nsenter --net="/run/netns/$NODE_NS" systemd-nspawn --quiet --boot --directory="$RUN/node/root" --machine="$MACHINE" \
    --register=no --keep-unit --capability=CAP_NET_ADMIN --resolv-conf=off --timezone=off --link-journal=no \
    </dev/null >>"$WORK/console.log" 2>&1 &
  NSPAWN=$!
  wait_for 60 "the machine has a first process" is_init
  wait_for 90 "the machine is up" is_up
}

gone() { ! kill -0 "$NSPAWN" 2>/dev/null; }

# The machine ended by itself or by us.
halted() {
  wait_for 60 "the machine is down" gone
  wait "$NSPAWN" 2>/dev/null || true
  NSPAWN=
  LEADER=
}

# ---------------------------------------------------------------- the collector, on this host

start_collector() {
  nsenter --net="/run/netns/$HOST_NS" "$HOST_BIN/tacit-collector" serve --config "$WORK/collector.toml" </dev/null >>"$WORK/collector.log" 2>&1 &
  COLLECTOR=$!
  wait_for 30 "the collector answers" ask status
}

stop_collector() {
  kill "$COLLECTOR"
  wait "$COLLECTOR" 2>/dev/null || true
  COLLECTOR=
}

ask() { nsenter --net="/run/netns/$HOST_NS" "$HOST_BIN/tacit" "$@" --collector "http://$HERE:8420" --json; }

online() { ask nodes | "$LOOK" online "$1"; }
has_event() { ask events --limit 1000 | "$LOOK" event "$1"; }

# ---------------------------------------------------------------- the service

property() { in_node systemctl show --property="$1" --value "${2:-tacit-agent}"; }
is_active() { [ "$(property ActiveState)" = active ]; }
restarted_since() { [ "$(property NRestarts)" -gt "$1" ] && is_active; }
watchdog_saw() { in_node journalctl --no-pager -u tacit-agent --since "@$1" | grep -qi 'watchdog timeout'; }
log_says() { in_node journalctl --no-pager -u tacit-agent | grep -qF -- "$1"; }

# The agent's process as this host numbers it.
agent_on_host() {
  local inside pid
  inside=$(property MainPID)
  for pid in $(pgrep -x tacit-agent; pgrep -f '/usr/bin/tacit-agent run'); do
    if [ "$(readlink "/proc/$pid/ns/pid")" = "$(readlink "/proc/$LEADER/ns/pid")" ] &&
      [ "$(awk '/^NSpid:/ { print $NF }' "/proc/$pid/status")" = "$inside" ]; then
      echo "$pid"
      return
    fi
  done
  return 1
}

# Everything that packages may leave behind: files outside what systemd, dpkg and logs write by themselves, users and groups.
inventory() {
  in_node sh -c "find / -xdev \
      \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /packages -o -path /root \
      -o -path /var/lib/dpkg -o -path /var/lib/apt -o -path /var/cache -o -path /var/log -o -path /var/tmp \
      -o -path /var/lib/systemd \) -prune -o -print | grep -vE '^/etc/(passwd|group|shadow|gshadow|subuid|subgid)-\$|^/etc/.pwd.lock\$'
    cut -d: -f1 /etc/passwd | sed 's/^/user /'
    cut -d: -f1 /etc/group | sed 's/^/group /'
    ls -d /run/tacit* /var/lib/systemd/deb-systemd-helper-*/*tacit* /var/lib/systemd/deb-systemd-helper-enabled/*/*tacit* 2>/dev/null" | sort
}

clean_up() {
  local code=$?
  set +e
  [ -z "$HOLDER" ] || kill "$HOLDER" 2>/dev/null
  [ -z "$COLLECTOR" ] || kill "$COLLECTOR" 2>/dev/null
  if [ -n "$NSPAWN" ]; then
    # nspawn takes its machine along.
    kill "$NSPAWN" 2>/dev/null
    for _ in 1 2 3 4 5 6 7 8 9 10; do
      gone && break
      sleep 1
    done
    [ -z "$LEADER" ] || kill -KILL "$LEADER" 2>/dev/null
    kill -KILL "$NSPAWN" 2>/dev/null
  fi
  wait 2>/dev/null
  local one
  for one in "$RUN"/*/root; do
    umount "$one" 2>/dev/null
  done
  ip netns delete "$HOST_NS" 2>/dev/null
  ip netns delete "$NODE_NS" 2>/dev/null
  [ "$code" -ne 0 ] || rm -rf "$RUN"
  exit "$code"
}
