#include "daemon/supervisor/pool/context_reserve.hpp"

#include <fmt/format.h>

#include <string>
#include <utility>

#include "daemon/system/log.hpp"

namespace vramswap {
namespace {

std::string context_reserve_name(std::size_t slot) {
  return fmt::format("context-{}", slot);
}

}  // namespace

bool is_context_reserve_of(std::size_t slot, std::string_view name) {
  return name == context_reserve_name(slot);
}

void ContextReserve::inherit(const NamedFds& inherited) {
  auto copy = copy_of(inherited, context_reserve_name(slot_));
  if (!copy) return log_error(copy.error().message);
  memory_ = *std::move(copy);
  // An attempt to adopt may have put one there, of a worker that has died since.
  if (!memory_) give_up();
}

void ContextReserve::keep(UniqueFd memory) {
  give_up();
  memory_ = std::move(memory);
  if (memory_) manager_.push_to_fdstore(context_reserve_name(slot_), memory_.get());
}

void ContextReserve::give_up() {
  memory_.reset();
  manager_.remove_from_fdstore(context_reserve_name(slot_));
}

void ContextReserve::add_to(messages::Start& start, std::vector<int>& fds) const {
  start.has_context_reserve = is_there();
  if (memory_) fds.push_back(memory_.get());
}

void ContextReserve::add_to(NamedFds& fds) const {
  if (memory_) fds[context_reserve_name(slot_)] = memory_.duplicate();
}

}  // namespace vramswap
