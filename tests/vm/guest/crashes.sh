# shellcheck shell=sh disable=SC2016,SC2154 # lib.sh
# The state of the swap after a process has died at a bad moment.

# Into $down: a down that has begun to move pages.
start_down() {
  used_before=$(swap_used)
  (
    echo 0 >/sys/fs/cgroup/cgroup.procs
    exec timeout -s KILL 100 /usr/bin/vramswap down
  ) >/tmp/down 2>&1 &
  down=$!
  wait_for '[ "$(swap_used)" -lt '"$used_before"' ]' 30
}

# Into $code: how it ended, which is well, or with a reason.
end_down() { # WHAT
  code=0
  wait "$down" || code=$?
  say "$1 during down -> $code: $(cat /tmp/down)"
  [ "$code" -le 1 ] || fail "down ended with $code: $(cat /tmp/down)"
}

# Whether what is left serves, or nothing is left. Who asks starts another supervisor, if there is
# anything to take over, and that one undoes what the dead one had half done.
is_settled() {
  left=0
  vramswap status >/tmp/status 2>&1 || left=$?
  case $left in
    0) ! grep '^/dev/' /tmp/status | grep -qv 'active$' && ! grep -q '^-' /tmp/status ;;
    3) ;;
    *) fail "status ended with $left: $(cat /tmp/status)" ;;
  esac
}

# Takes down what is left.
settle() {
  wait_for is_settled 60
  case $left in
    0) expect_exit 0 vramswap down ;;
    3)
      # The dead one has left its socket, or the one that status has started waits for an up.
      if [ -e /run/vramswap/control ]; then
        expect_exit 0 vramswap up --size 16M
        expect_exit 0 vramswap down
      fi
      ;;
  esac
}
