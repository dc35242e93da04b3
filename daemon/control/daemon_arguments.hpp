// The options of vramswapd that other programs of the project use: vramswap starts the supervisor,
// the supervisor starts its successor and its workers.
#pragma once

namespace vramswap {

// Argument 0 of every vramswapd. The '@' tells systemd to spare the process at shutdown: systemd
// kills all other processes and only then turns swap off (systemd.io/ROOT_STORAGE_DAEMONS).
inline constexpr const char* kDaemonArgument0 = "@vramswapd";

inline constexpr const char* kDetachedOption = "--detached";  // log to the kernel's log once ready
inline constexpr const char* kScratchOption = "--scratch";    // serve a scratch segment, no swap
inline constexpr const char* kWorkerOption = "--worker";      // be a worker, not the supervisor
inline constexpr const char* kInheritOption = "--inherit";    // go on as the supervisor; takes text
inline constexpr const char* kSwapCallOption = "--swap-call";  // make one call, as a child
// Ask whether this program understands a handover; takes a number.
inline constexpr const char* kTakesOverFromOption = "--takes-over-from";

// The name by which Boost.Program_options declares and finds an option of the list above.
constexpr const char* option_name(const char* option) {
  return option + 2;
}

}  // namespace vramswap
