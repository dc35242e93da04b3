# shellcheck shell=sh disable=SC2016,SC2034,SC2119,SC2120 # wait_for evaluates what is quoted; cases read *_pid
# Functions for the cases, which run under dash with -eu.

reason_file=/tmp/reason

say() {
  echo "case: $*"
}

# Ends the case. In a subshell it ends that only, so call it from the case itself.
fail() {
  say "FAIL: $*"
  echo "$*" >"$reason_file"
  exit 1
}

skip() {
  echo "$*" >"$reason_file"
  exit 77
}

# Ends the case: the guest is to shut down in an orderly way, with what the case has left behind, and
# run_case judges by the console how it went.
power_off_within() { # SECONDS
  echo "$1" >/tmp/power_off
  exit 0
}

assert_eq() { # ACTUAL EXPECTED WHAT
  [ "$1" = "$2" ] || fail "$3 is '$1', not '$2'"
}

assert_at_least() { # ACTUAL MINIMUM WHAT
  [ "$1" -ge "$2" ] || fail "$3 is $1, less than $2"
}

assert_at_most() { # ACTUAL MAXIMUM WHAT
  [ "$1" -le "$2" ] || fail "$3 is $1, more than $2"
}

assert_contains() { # TEXT PART
  case $1 in
    *"$2"*) ;;
    *) fail "no '$2' in '$1'" ;;
  esac
}

# Runs a command that is to end with CODE; what it printed, both streams, is in $output afterwards.
expect_exit() { # CODE COMMAND...
  expected_code=$1
  shift
  code=0
  output=$("$@" 2>&1) || code=$?
  say "$* -> $code: $output"
  [ "$code" -eq "$expected_code" ] || fail "'$*' ended with $code, not $expected_code: $output"
}

# One clear line: what bad input is to get.
expect_refusal() { # CODE PART COMMAND...
  refusal_code=$1 refusal_part=$2
  shift 2
  expect_exit "$refusal_code" "$@"
  assert_eq "$(echo "$output" | wc -l)" 1 "the number of lines printed by '$*'"
  assert_contains "$output" "$refusal_part"
}

wait_for() { # CONDITION SECONDS
  read_uptime_ms
  wait_deadline=$((now + $2 * 1000))
  until eval "$1"; do
    read_uptime_ms
    [ "$now" -lt "$wait_deadline" ] || fail "waited $2 s in vain for: $1"
    sleep 0.1
  done
}

# Into $now, by the shell itself: in a loop that waits, a program takes longer than what it waits for.
read_uptime_ms() {
  read -r now _ </proc/uptime
  now=${now%.*}${now#*.}0
  # In the first second after the boot: a number that begins with 0 would be octal.
  now=${now#"${now%%[!0]*}"}
}

uptime_ms() {
  read_uptime_ms
  echo "$now"
}

# The harness's own group keeps its members out of the swap; programs under test belong elsewhere.
swappable() ( # COMMAND...
  echo 0 >/sys/fs/cgroup/cgroup.procs
  exec "$@"
)

vramswap() {
  swappable vramswap "$@"
}

# A card of 128 MiB. Its memory is kept on a ramfs, for a tmpfs may be swapped out: to itself.
fake_cuda=/run/fake_cuda
use_fake_cuda() {
  [ -e /opt/fake_cuda/libcuda.so.1 ] || fail "the build has no libcuda for tests"
  ln -s /opt/fake_cuda/lib*.so.1 /usr/lib/
  mkdir "$fake_cuda"
  mount -t ramfs ramfs "$fake_cuda"
  export FAKE_CUDA_DIR="$fake_cuda" FAKE_CUDA_MEMORY_MIB=128
}

# A worker that starts finds no card; one that runs goes on.
take_card_away() {
  touch "$fake_cuda/away"
}

put_card_back() {
  rm "$fake_cuda/away"
}

# Allocations of the card are locked ranges of its file.
fake_vram_allocations() {
  for device in "$fake_cuda"/device*; do
    [ ! -e "$device" ] || grep ":$(stat -c %i "$device") " /proc/locks || true
  done
}

assert_fake_vram_scrubbed() {
  for device in "$fake_cuda"/device*; do
    assert_eq "$(io_probe --used-bytes "$device")" 0 "the number of bytes left in VRAM"
  done
}

vmstat() { # FIELD
  awk -v field="$1" '$1 == field { print $2 }' /proc/vmstat
}

# KiB in use on a device, or on every nbd device.
swap_used() { # [DEVICE]
  kib=0
  while read -r area _ _ used _; do
    case $area in "${1:-/dev/nbd}"*) kib=$((kib + used)) ;; esac
  done </proc/swaps
  echo "$kib"
}

swap_areas() {
  grep -c '^/dev/nbd' /proc/swaps || true
}

connected_devices() {
  for pid_file in /sys/block/nbd*/pid; do
    [ ! -e "$pid_file" ] || echo "$pid_file"
  done
}

processes_named() { # NAME
  grep -lx "$1" /proc/[0-9]*/comm 2>/dev/null || true
}

# Not by pidof, which goes by the program: supervisor and worker are one.
pid_of() { # NAME
  processes_named "$1" | cut -d / -f 3
}

# Pages must have gone out and come back since reset_swap_counters.
reset_swap_counters() {
  pswpin_before=$(vmstat pswpin)
  pswpout_before=$(vmstat pswpout)
}

assert_swapped() { # MINIMUM_MIB
  pages_in=$(($(vmstat pswpin) - pswpin_before))
  pages_out=$(($(vmstat pswpout) - pswpout_before))
  say "pages out $pages_out, in $pages_in"
  assert_at_least "$pages_out" $(($1 * 256)) "pages swapped out"
  assert_at_least "$pages_in" $(($1 * 256)) "pages swapped in"
}

# What kernel and daemon leave free differs between kernels and builds. This takes the rest but MIB
# away, so that a case sees the same pressure everywhere.
leave_free() { # MIB
  mkdir -p /run/ballast
  mount -t ramfs ramfs /run/ballast
  ballast=$(awk -v keep="$1" '$1 == "MemFree:" { print int($2 / 1024) - keep }' /proc/meminfo)
  say "$ballast MiB taken away, $1 MiB left"
  assert_at_least "$ballast" 1 "the ballast in MiB"
  dd if=/dev/zero of=/run/ballast/file bs=1M count="$ballast" 2>/dev/null
}

give_back_memory() {
  umount /run/ballast
}

# Starts a hog in the background: its process is in $hog_pid, what it says in /tmp/NAME.
start_hog() { # NAME ARGUMENT...
  hog_name=$1
  shift
  # Before the process starts: an earlier hog of this name may have said that it is holding.
  : >"/tmp/$hog_name"
  # Not by way of swappable: $! is to be the hog, not a shell that waits for it.
  (
    echo 0 >/sys/fs/cgroup/cgroup.procs
    exec hog "$@"
  ) >"/tmp/$hog_name" 2>&1 &
  hog_pid=$!
}

# Waits for a hog to end and wants every word verified.
reap_hog() { # NAME PID [MAX_STALL_MS]
  code=0
  wait "$2" || code=$?
  say "$1: $(cat "/tmp/$1")"
  [ "$code" -eq 0 ] || fail "$1 ended with $code: $(tail -n 1 "/tmp/$1")"
  assert_contains "$(tail -n 1 "/tmp/$1")" "wrong_words=0 "
  if [ $# -ge 3 ]; then
    assert_at_most "$(sed -n '$s/.*max_stall_ms=//p' "/tmp/$1")" "$3" "$1's longest stall in ms"
  fi
}

run_hog() { # ARGUMENT...
  start_hog hog "$@"
  reap_hog hog "$hog_pid"
}

hog_is_holding() { # NAME
  grep -q '^hog: holding' "/tmp/$1"
}

# Has a holding hog verify everything it holds once more.
verify_held() { # NAME PID SECONDS
  verified_before=$(grep -c '^hog: verified' "/tmp/$1" || true)
  kill -USR1 "$2"
  wait_for '[ "$(grep -c "^hog: verified" /tmp/'"$1"')" -gt '"$verified_before"' ]' "$3"
  assert_contains "$(tail -n 1 "/tmp/$1")" "wrong_words=0 lost_pages=0 "
}

# Starts a hog that holds MIB of memory, a good part of it in swap, and takes no more. The machine is not
# short of memory afterwards, so that only what a case does needs the swap.
hold_in_swap() { # MIB LEAVE_FREE_MIB
  leave_free "$2"
  start_hog hog --mib "$1" --passes 0 --hold
  wait_for 'hog_is_holding hog' 60
  give_back_memory
  assert_at_least "$(swap_used)" 10000 "KiB in swap"
}

# Swap that is not ours, on the disk that the case's header asks for.
add_other_swap() { # [PRIORITY]
  modprobe virtio_pci 2>/dev/null || true
  modprobe virtio_blk 2>/dev/null || true
  wait_for '[ -b /dev/vda ]' 5
  mkswap -L other /dev/vda >/dev/null
  swapon -p "${1:-0}" /dev/vda
}

# Connects an nbd device that is not ours, until $squatter_pid is killed.
squat() { # DEVICE
  nbd_squatter "$1" &
  squatter_pid=$!
  wait_for "[ -e /sys/block/${1#/dev/}/pid ]" 5
}

# Takes every swap area the kernel has to give.
take_all_swap_areas() {
  modprobe brd rd_nr=40 rd_size=1024 || fail "the kernel has no brd"
  wait_for '[ -e /dev/ram39 ]' 5
  taken=0
  for disk in /dev/ram*; do
    mkswap "$disk" >/dev/null
    swapon "$disk" 2>/dev/null || break
    taken=$((taken + 1))
  done
  say "$taken swap areas taken"
  assert_at_least "$taken" 20 "the number of swap areas taken"
  assert_at_most "$taken" 39 "the number of swap areas taken"
}

swap_limit() { # UNIT of systemd
  cat "/sys/fs/cgroup$(systemctl show --value --property ControlGroup "$1")/memory.swap.max"
}

# What `up` has systemd execute itself again for. But for what the kernel counts late.
all_of_init_is_in_its_group() {
  counted=$(awk '$1 == "anon" { print int($2 / 1024) }' /sys/fs/cgroup/init.scope/memory.stat)
  [ $((counted + 512)) -ge "$(awk '$1 == "RssAnon:" { print $2 }' /proc/1/status)" ]
}

# Before a case makes memory short: systemd reloads all units then.
wait_for_init() {
  wait_for 'all_of_init_is_in_its_group && systemctl show --property Version >/dev/null 2>&1' 60
}

# Nothing of ours is left. The daemon ends by itself when nothing is up, which takes a moment.
assert_clean() {
  assert_eq "$(swap_areas)" 0 "the number of swap areas left"
  assert_eq "$(connected_devices)" "" "the list of connected devices"
  wait_for '[ -z "$(processes_named vramswapd)$(processes_named vramswap-worker)" ]' 5
  assert_eq "$(fake_vram_allocations)" "" "the list of VRAM allocations left"
  [ ! -e /run/vramswap/control ] || fail "/run/vramswap/control is left"
}
