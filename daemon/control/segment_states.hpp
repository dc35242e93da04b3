// Every value of SegmentStatus::state.
#pragma once

#include <array>
#include <string_view>

#include "daemon/control/protocol.hpp"

namespace vramswap::control {

// The names of SegmentState, which only the supervisor knows, and of the states that other programs
// cause.
inline constexpr std::array<std::string_view, 9> kSegmentStates{
    "planned",     "allocated", "connected", "active",          "swapping-off",
    "interrupted", "stranded",  kOffState,   kDisconnectedState};

}  // namespace vramswap::control
