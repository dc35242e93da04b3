// What must hold once nothing goes wrong any more.
#pragma once

#include "tests/simulation/world.hpp"

namespace vramswap::simulation {

// The world stops misbehaving, and all loans end. Within a bounded time all is served and on its
// card, and `down` succeeds and leaves nothing. Otherwise the life ends with a violation.
void end_well(World& world);

}  // namespace vramswap::simulation
