// What systemd is told, where the daemon runs under it; nothing elsewhere.
#pragma once

#include <chrono>
#include <string_view>

namespace vramswap {

void notify_ready();
void notify_stopping();
// Shown by `systemctl status`.
void notify_status(std::string_view status);
// Asks for this much more time to stop, from now.
void notify_extend_timeout(std::chrono::microseconds timeout);

}  // namespace vramswap
