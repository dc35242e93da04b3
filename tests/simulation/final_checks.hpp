// What must hold once nothing goes wrong any more.
#pragma once

#include "tests/simulation/world.hpp"

namespace vramswap::simulation {

// All that is swap is served, and nobody waits.
bool is_served(World& world);
// And nothing is lent, as the last status says.
bool is_well(World& world);
// The life ends with a violation where they do not hold: before `down`, and after it.
void check_all_is_served(World& world);
void check_nothing_is_lent(World& world);
void check_nothing_is_left(World& world);

}  // namespace vramswap::simulation
