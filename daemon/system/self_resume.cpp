#include "daemon/system/self_resume.hpp"

#include <cerrno>
#include <csignal>
#include <ctime>

namespace vramswap {

// The default action of SIGCONT interrupts no system call.
Result<void> resume_every_second() {
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGCONT;
  timer_t timer{};
  if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0) {
    return fail_errno("SIGCONT", "timer_create", errno);
  }
  const itimerspec each_second{.it_interval = {.tv_sec = 1, .tv_nsec = 0},
                               .it_value = {.tv_sec = 1, .tv_nsec = 0}};
  if (timer_settime(timer, 0, &each_second, nullptr) != 0) {
    return fail_errno("SIGCONT", "timer_settime", errno);
  }
  return {};
}

}  // namespace vramswap
