#include "daemon/system/self_resume.hpp"

#include <cerrno>
#include <csignal>
#include <ctime>

namespace vramswap {

// Since Linux 6.13 a timer whose signal is ignored, as SIGCONT is without a handler, stands still.
Result<void> resume_every_second() {
  struct sigaction handled {};
  handled.sa_handler = [](int) {};
  handled.sa_flags = SA_RESTART;
  if (sigaction(SIGCONT, &handled, nullptr) != 0) {
    return fail_errno("SIGCONT", "sigaction", errno);
  }
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
