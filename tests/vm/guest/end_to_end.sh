# shellcheck shell=sh disable=SC2154 # start_hog sets hog_pid, expect_exit output
# The whole story on one backend: up, pages go out and come back, status, down, nothing left.
end_to_end() { # BACKEND
  expect_exit 3 vramswap status
  expect_exit 0 vramswap up --size 96M --priority 100 --backend "$1"
  assert_contains "$output" /dev/nbd1000
  assert_eq "$(swap_areas)" 1 "the number of swap areas"
  assert_eq "$(awk '$1 == "/dev/nbd1000" { print $5 }' /proc/swaps)" 100 "the priority"
  assert_contains "$(swaplabel /dev/nbd1000)" vramswap

  leave_free 40
  # A small one that a large one pushes out: what of it is still swapped at the end, down brings back.
  start_hog small --mib 16 --seed 2 --passes 1 --hold
  small=$hog_pid
  wait_for 'hog_is_holding small' 60
  reset_swap_counters
  run_hog --mib 80
  assert_swapped 45

  assert_at_least "$(swap_used /dev/nbd1000)" 4096 "KiB of swap in use"
  pages_used=$(($(swap_used /dev/nbd1000) / 4))
  expect_exit 0 vramswap status
  assert_contains "$output" /dev/nbd1000
  # All that is in swap was written through the worker.
  pages_written=$(echo "$output" | awk '$1 == "writes" { print $3 }')
  assert_at_least "${pages_written:-0}" "$pages_used" "pages written, says status"
  expect_exit 0 vramswap status --json
  assert_contains "$output" /dev/nbd1000

  give_back_memory
  expect_exit 0 vramswap down
  assert_clean
  # Whoever connects it next may have a slower server.
  assert_eq "$(cat /sys/block/nbd1000/queue/io_timeout)" 30000 "the request timeout left in ms"
  verify_held small "$small" 60
  kill -TERM "$small"
  reap_hog small "$small"
  expect_exit 3 vramswap status
}
