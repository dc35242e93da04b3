// The room on the card for a context, which takes some hundred MB of VRAM.
#pragma once

#include <cstdint>
#include <functional>

#include "daemon/base/unique_fd.hpp"

namespace vramswap {

struct ContextRoom {
  std::uint64_t context_bytes = 0;  // as in StoreDeviceInfo
  // Memory set aside for the context, which other programs cannot take; empty: none.
  UniqueFd reserve;
  // Other processes with a descriptor of the reserve must close it: the card is full.
  std::function<void()> on_given_up = [] {};

  // A context was made, and little room is left: memory that the driver takes later may not fit.
  bool is_tight = false;

  void give_up() {
    if (!reserve) return;
    reserve.reset();
    on_given_up();
  }
};

}  // namespace vramswap
