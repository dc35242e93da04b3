// VRAM that is set aside for the context of the next worker of a card, or of this one after a doze.
// A card that others have filled meanwhile would refuse the context. The worker makes it, and says
// when it is to be given up; the service manager keeps it, too.
#pragma once

#include <string_view>
#include <vector>

#include "daemon/handover/messages.hpp"
#include "daemon/supervisor/machine/service_manager.hpp"

namespace vramswap {

// Whether a descriptor of the fd store is that of the worker slot with that index.
bool is_context_reserve_of(std::size_t slot, std::string_view name);

class ContextReserve {
 public:
  ContextReserve(ServiceManager& manager, std::size_t slot) : manager_(manager), slot_(slot) {}

  // That of an earlier supervisor, if it is among the descriptors that it left.
  void inherit(const NamedFds& inherited);
  // What the worker has made, in the place of what is here.
  void keep(UniqueFd memory);
  // Its memory is free when nobody else has a descriptor of it.
  void give_up();

  // What the next worker is started with.
  void add_to(messages::Start& start, std::vector<int>& fds) const;
  // A copy for the next program.
  void add_to(NamedFds& fds) const;

  bool is_there() const { return static_cast<bool>(memory_); }

 private:
  ServiceManager& manager_;
  const std::size_t slot_;
  UniqueFd memory_;
};

}  // namespace vramswap
