# shellcheck shell=sh disable=SC2016,SC2034,SC2154 # wait_for evaluates what is quoted; the case has the settings
# Contenders for swap, set up one at a time, and the cost of one run of a hog on each.
# A contender is NAME[/SETTING=VALUE]...: NAME is ram or vram (vramswap), nbdkit, nbdkit-malloc, zram or
# brd; a setting is a file of the block device's queue folder, page-cluster, connections, or queue=kernel,
# which leaves an nbd-client's device as the kernel made it.

sysctl_page_cluster=/proc/sys/vm/page-cluster

# Sets $name and, for each setting, its variable. The file of a queue's setting goes to $queue_settings.
parse_contender() { # CONTENDER
  name=${1%%/*} page_cluster=3 queue=vramswap queue_settings=
  contender_connections=$connections
  settings=${1#"$name"}
  while [ -n "$settings" ]; do
    settings=${settings#/}
    setting=${settings%%/*}
    settings=${settings#"$setting"}
    case $setting in
      page-cluster=*) page_cluster=${setting#*=} ;;
      connections=*) contender_connections=${setting#*=} ;;
      queue=kernel) queue=kernel ;;
      *=*) queue_settings="$queue_settings $setting" ;;
      *) fail "what is '$setting' of '$1'?" ;;
    esac
  done
}

# What was there before is put back by restore_queue: a queue outlives its connections.
set_queue() { # DEVICE SETTING...
  queue_directory=/sys/block/$1/queue
  shift
  for setting; do
    file=$queue_directory/${setting%%=*}
    [ "$setting" != scheduler=mq-deadline ] || modprobe mq-deadline 2>/dev/null || true
    sed 's/.*\[\(.*\)\].*/\1/; s|^|'"$file"' |' "$file" >>/tmp/queue_before
    echo "${setting#*=}" >"$file" || fail "$file does not take '${setting#*=}'"
  done
}

# The last one set is the first one put back.
restore_queue() {
  [ -e /tmp/queue_before ] || return 0
  sed '1!G; h; $!d' /tmp/queue_before | while read -r file value; do
    echo "$value" >"$file"
  done
  rm /tmp/queue_before
}

# As vramswap sets its own devices.
set_queue_like_vramswap() { # DEVICE
  set_queue "$1" scheduler=none max_sectors_kb=1024
  # Not every queue has writeback throttling.
  echo 0 >"/sys/block/$1/queue/wbt_lat_usec" 2>/dev/null || true
}

swap_on() { # DEVICE
  mkswap "/dev/$1" >/dev/null 2>&1 || fail "mkswap /dev/$1"
  swapon -p 100 "/dev/$1" || fail "swapon /dev/$1"
}

start_nbdkit() { # PLUGIN_ARGUMENT...
  modprobe nbd
  nbdkit -U /run/nbdkit.socket -P /run/nbdkit.pid memory "size=${swap_mib}M" "$@" ||
    fail "nbdkit does not start"
  wait_for '[ -s /run/nbdkit.pid ]' 10
  server=$(cat /run/nbdkit.pid)
  nbd-client -unix /run/nbdkit.socket /dev/nbd0 -b 4096 -C "$contender_connections" >/tmp/nbd_client 2>&1 ||
    fail "nbd-client: $(cat /tmp/nbd_client)"
  # The kernel's own: with the short one that vramswap has left here, nbd-client's swap would be lost.
  set_queue nbd0 io_timeout=30000
  [ "$queue" = kernel ] || set_queue_like_vramswap nbd0
  swap_on nbd0
  device=nbd0
}

stop_nbdkit() {
  swapoff /dev/nbd0 || fail "swapoff /dev/nbd0"
  nbd-client -d /dev/nbd0 >/dev/null 2>&1 || fail "nbd-client -d"
  kill "$server"
  wait_for '[ ! -e /proc/'"$server"' ]' 10
  rm -f /run/nbdkit.socket /run/nbdkit.pid
}

# Sets $device, and $server: the process that serves it, or nothing.
set_up() { # CONTENDER
  parse_contender "$1"
  server=
  case $name in
    ram | vram)
      expect_exit 0 vramswap up --size "${swap_mib}M" --priority 100 --backend "$name" \
        --connections "$contender_connections" --doze-after 0 >/dev/null
      server=$(pid_of vramswap-worker)
      device=$(awk '$1 ~ "^/dev/nbd" { print substr($1, 6) }' /proc/swaps)
      ;;
    nbdkit) start_nbdkit ;;
    nbdkit-malloc) start_nbdkit allocator=malloc ;;
    zram)
      modprobe zram || fail "the kernel has no zram"
      wait_for '[ -b /dev/zram0 ]' 5
      echo "${swap_mib}M" >/sys/block/zram0/disksize
      swap_on zram0
      device=zram0
      ;;
    brd)
      modprobe brd rd_nr=1 rd_size=$((swap_mib * 1024)) || fail "the kernel has no brd"
      wait_for '[ -b /dev/ram0 ]' 5
      swap_on ram0
      device=ram0
      ;;
    *) fail "who is '$name'?" ;;
  esac
  # shellcheck disable=SC2086 # they are several
  set_queue "$device" $queue_settings
  echo "$page_cluster" >"$sysctl_page_cluster"
}

take_down() {
  # While the device is there.
  restore_queue
  case $name in
    ram | vram)
      expect_exit 0 vramswap down >/dev/null
      wait_for '[ -z "$(processes_named vramswapd)$(processes_named vramswap-worker)" ]' 10
      ;;
    nbdkit | nbdkit-malloc) stop_nbdkit ;;
    zram)
      swapoff /dev/zram0
      echo 1 >/sys/block/zram0/reset
      rmmod zram
      ;;
    brd)
      swapoff /dev/ram0
      rmmod brd
      ;;
  esac
}

# One line: ms of uptime, pages in, pages out, ms of CPU of all, us of CPU of the server, how often one
# of its threads went to sleep, requests, 512-byte sectors of them. The CPU ran when it was not idle.
counters() {
  {
    cat /proc/uptime /proc/stat /proc/vmstat
    [ -z "$server" ] || cat /proc/"$server"/task/*/schedstat | sed 's/^/schedstat /'
    [ -z "$server" ] || cat /proc/"$server"/task/*/status
    sed 's/^/requests /' "/sys/block/$device/stat"
  } | awk '
    NR == 1 { ms = $1 * 1000 }
    $1 == "cpu" { busy = ($2 + $3 + $4 + $7 + $8) * 10 }
    $1 == "pswpin" { pages_in = $2 }
    $1 == "pswpout" { pages_out = $2 }
    $1 == "schedstat" { server_us += $2 / 1000 }
    $1 == "voluntary_ctxt_switches:" { sleeps += $2 }
    $1 == "requests" { requests = $2 + $6; sectors = $4 + $8 }
    END { printf "%d %d %d %d %d %d %d %d\n",
          ms, pages_in, pages_out, busy, server_us, sleeps, requests, sectors }'
}

# The hog's group is small, so that it swaps and nobody else: there is memory enough for the servers,
# whatever they allocate.
bench_group=/sys/fs/cgroup/bench
make_bench_group() {
  mkdir -p "$bench_group"
  echo "${limit_mib}M" >"$bench_group/memory.max"
}

# Prints one line of figures. The hog has to find every word right.
measure() { # ROUND CONTENDER
  before=$(counters)
  code=0
  (
    echo 0 >"$bench_group/cgroup.procs"
    # A group that is full of pages on their way out waits for them, instead of killing the hog.
    echo -1000 >/proc/self/oom_score_adj
    # shellcheck disable=SC2086 # it is a list
    exec hog --mib "$hog_mib" $hog_arguments
  ) >/tmp/hog 2>&1 || code=$?
  after=$(counters)
  [ "$code" -eq 0 ] || fail "the hog on $2 ended with $code: $(tail -n 1 /tmp/hog)"
  assert_contains "$(tail -n 1 /tmp/hog)" "wrong_words=0 lost_pages=0 "
  passes=$(sed -n 's/^hog: pass \(.*\) ms=\(.*\)/\1_ms=\2/p' /tmp/hog | tr '\n' ' ')
  echo "$before $after" | awk -v round="$1" -v contender="$2" -v passes="$passes" '{
    printf "bench: round=%d contender=%s ms=%d in=%d out=%d busy_ms=%d server_us=%d sleeps=%d", round,
           contender, $9 - $1, $10 - $2, $11 - $3, $12 - $4, $13 - $5, $14 - $6
    printf " requests=%d sectors=%d %s\n", $15 - $7, $16 - $8, passes }'
  swapped=$(($(vmstat pswpout) - $(echo "$before" | cut -d ' ' -f 3)))
  assert_at_least "$swapped" $(((hog_mib - limit_mib) * 256)) "the pages swapped out on $2"
  if [ "$name" = zram ]; then
    echo "bench-zram: stored as they are: $(awk '{ print $9 }' /sys/block/zram0/mm_stat) of $swapped pages"
  fi
}
