// The difference between the daemon of a scratch segment and the daemon that serves swap. Both may
// run at the same time: each has its own directory with its own lock, and cleans up only devices
// with its own prefix.
#pragma once

#include <string_view>

namespace vramswap {

enum class Purpose {
  swap,
  // A segment and a device without a swap area on it, for measurements. They last as long as the
  // client's connection.
  scratch,
};

namespace control {

inline constexpr std::string_view kScratchRuntimeDirectory = "/run/vramswap-scratch";
inline constexpr std::string_view kScratchSocketPath = "/run/vramswap-scratch/control";

}  // namespace control

// The backend identifiers of our devices begin with these. Neither prefix begins with the other.
inline constexpr std::string_view kSwapDevicePrefix = "vramswap-";
inline constexpr std::string_view kScratchDevicePrefix = "vramscratch-";

}  // namespace vramswap
