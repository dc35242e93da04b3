#include "daemon/supervisor/notify.hpp"

#include <fmt/format.h>

#ifdef VRAMSWAP_HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

namespace vramswap {
namespace {

void notify([[maybe_unused]] const char* state) {
#ifdef VRAMSWAP_HAVE_SYSTEMD
  (void)sd_notify(0, state);  // it is a message to the user, not a step of ours
#endif
}

}  // namespace

void notify_ready() {
  notify("READY=1");
}
void notify_stopping() {
  notify("STOPPING=1");
}
void notify_status(std::string_view status) {
  notify(fmt::format("STATUS={}", status).c_str());
}
void notify_extend_timeout(std::chrono::microseconds timeout) {
  notify(fmt::format("EXTEND_TIMEOUT_USEC={}", timeout.count()).c_str());
}

}  // namespace vramswap
