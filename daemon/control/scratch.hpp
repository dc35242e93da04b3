// What tells the daemon of a scratch segment from one that serves swap. The two may run at the same
// time: each has its own directory with its own lock, and takes only devices of its own for what an
// earlier one has left.
#pragma once

#include <string_view>

namespace vramswap {

enum class Purpose {
  swap,
  // A segment and a device without a swap area on it, for measuring. They are there for as long as
  // the client that asked for them.
  scratch,
};

namespace control {

inline constexpr std::string_view kScratchRuntimeDirectory = "/run/vramswap-scratch";
inline constexpr std::string_view kScratchSocketPath = "/run/vramswap-scratch/control";

}  // namespace control

// What the backend identifiers of our devices begin with. Neither begins with the other.
inline constexpr std::string_view kSwapDevicePrefix = "vramswap-";
inline constexpr std::string_view kScratchDevicePrefix = "vramscratch-";

constexpr std::string_view device_prefix(Purpose purpose) {
  return purpose == Purpose::scratch ? kScratchDevicePrefix : kSwapDevicePrefix;
}

}  // namespace vramswap
