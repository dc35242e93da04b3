// Every value of SegmentStatus::state and place.
#pragma once

#include <array>
#include <string_view>

#include "daemon/control/protocol.hpp"

namespace vramswap::control {

// The names of SegmentState, which only the supervisor knows, and of the states that other programs
// cause or that a loan causes.
inline constexpr std::array<std::string_view, 10> kSegmentStates{
    "planned",     "allocated", "connected", "active",           "swapping-off",
    "interrupted", "stranded",  kOffState,   kDisconnectedState, kLentState};

// Every value of SegmentStatus::place but the empty one.
inline constexpr std::array<std::string_view, 2> kSegmentPlaces{"vram", "host memory"};

}  // namespace vramswap::control
