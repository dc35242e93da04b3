// The stores of a simulated worker: they are made, imported, moved and released.
#include <algorithm>
#include <cerrno>

#include "daemon/base/page_size.hpp"
#include "tests/simulation/worker.hpp"
#include "tests/simulation/world.hpp"

namespace vramswap::simulation {

using namespace messages;

StorePlace SimWorker::home() const {
  return start.backend == control::Backend::ram ? StorePlace::host : StorePlace::card;
}

// Others may have filled the card.
Result<void> SimWorker::find_room_for_store(StorePlace place) const {
  const bool is_full = world_.card.full_until > world_.now() && !world_.is_quiet;
  if (place == StorePlace::card && is_full) return fail_errno("store", "allocate", ENOMEM);
  return {};
}

Message SimWorker::create(const Create& request, std::vector<UniqueFd> fds,
                          std::vector<UniqueFd>& answer_fds) {
  if (fds.size() != 1) return Failed{"expected 1 descriptor"};
  if (world_.card.away_until > world_.now()) return Failed{"there is no card", ENODEV};
  if (segments.contains(request.segment)) return Failed{"the segment exists already"};
  if (auto ready = ensure_context(); !ready) return Failed{ready.error().message};
  if (auto room = find_room_for_store(home()); !room) return Failed{room.error().message, ENOMEM};
  auto pages = PageMap::map(fds[0].get(), request.size_bytes / kPageBytes);
  if (!pages) return Failed{pages.error().message, pages.error().code};
  if (pages->store().place != home()) world_.violate("a page map names a store in another place");
  auto [store, fd] = world_.stores.create(request.size_bytes / kPageBytes, pages->store());
  world_.note("worker {}: segment {} is store {}", pid, request.segment, store->number);
  answer_fds.push_back(fd.duplicate());
  segments.emplace(
      request.segment,
      HeldSegment{
          store, std::move(fd), std::move(fds[0]), *std::move(pages), {}, false, std::nullopt});
  return Done{};
}

Message SimWorker::import(const Import& request, std::vector<UniqueFd> fds) {
  if (fds.size() != 2) return Failed{"expected 2 descriptors"};
  const auto store = world_.stores.find(fds[1].get());
  if (!store) return Failed{"no memory behind the descriptor", EINVAL};
  auto pages = PageMap::map(fds[0].get(), request.size_bytes / kPageBytes);
  if (!pages) return Failed{pages.error().message, pages.error().code};
  if (pages->store() != store->id) {
    world_.violate(fmt::format("store {} is imported, and another one has the pages of segment {}",
                               store->number, request.segment));
  }
  if (segments.contains(request.segment)) return Failed{"the segment exists already"};
  // Host memory is there, whatever the card is like.
  if (store->is_on_card()) {
    if (world_.card.away_until > world_.now()) return Failed{"there is no card", ENODEV};
    if (auto ready = ensure_context(); !ready) return Failed{ready.error().message};
    store->was_refused |= store->is_destroyed;
    if (store->is_destroyed) return Failed{"the memory is gone", ESTALE};
    if (world_.card.imports_fail_until > world_.now()) {
      store->was_refused |= world_.card.import_code == ESTALE;
      return Failed{"ordered not to import", world_.card.import_code};
    }
  }
  segments.emplace(
      request.segment,
      HeldSegment{
          store, std::move(fds[1]), std::move(fds[0]), *std::move(pages), {}, true, std::nullopt});
  return Done{};
}

Message SimWorker::remove(const Remove& request) {
  const auto segment = segments.find(request.segment);
  if (segment == segments.end()) return Failed{"no such segment"};
  for (const auto& [index, device] : world_.kernel.devices()) {
    if (device.is_swap && device.store == segment->second.store && !device.pages.empty()) {
      world_.violate(fmt::format("the store of {} is scrubbed, and it is swap", device.path()));
    }
  }
  for (const auto& [name, connection] : segment->second.connections) {
    tell(ConnectionEnded{request.segment, name, ConnectionEnd::dropped});
  }
  std::ranges::fill(segment->second.store->pages, 0);
  segments.erase(segment);
  return Done{};
}

Message SimWorker::prepare_move(const PrepareMove& request, std::vector<UniqueFd>& answer_fds) {
  if (auto ready = ensure_context(); !ready) return Failed{ready.error().message};
  const auto found = segments.find(request.segment);
  if (found == segments.end()) return Failed{"no such segment"};
  HeldSegment& segment = found->second;
  segment.next.reset();
  if (segment.store->id.place == request.store.place) return Failed{"it is there already"};
  if (world_.card.away_until > world_.now()) return Failed{"there is no card", ENODEV};
  if (auto room = find_room_for_store(request.store.place); !room) {
    return Failed{room.error().message, ENOMEM};
  }
  auto [store, fd] = world_.stores.create(segment.store->pages.size(), request.store);
  world_.note("worker {}: segment {} may move to store {}, {}", pid, request.segment, store->number,
              store->is_on_card() ? "on the card" : "in host memory");
  answer_fds.push_back(fd.duplicate());
  segment.next = HeldSegment::Next{store, std::move(fd)};
  return Done{};
}

// Those whose bytes are right. Of the others, reads fail from now on.
void SimWorker::copy_valid_pages(HeldSegment& segment, std::uint32_t id) {
  bool any_lost = false;
  for (std::uint64_t page = 0; page < segment.store->pages.size(); ++page) {
    if (segment.pages.at(page) != PageState::valid) continue;
    const std::uint64_t content = segment.store->pages[page];
    if (segment.pages.is_valid_with(page, static_cast<std::uint32_t>(content))) {
      segment.next->store->pages[page] = content;
    } else {
      segment.pages.lose_corrupt(page);
      any_lost = true;
    }
  }
  if (any_lost) tell(LostPagesChanged{id});
}

Message SimWorker::finish_move(const FinishMove& request) {
  const auto found = segments.find(request.segment);
  if (found == segments.end()) return Failed{"no such segment"};
  HeldSegment& segment = found->second;
  if (!segment.next) return Failed{"no move was prepared"};
  copy_valid_pages(segment, request.segment);
  const bool dies_before_it_counts =
      fault_ && fault_->kind == MessageFault::Kind::dies_in && world_.choose_below(2) == 0;
  if (dies_before_it_counts || world_.card.away_until > world_.now()) {
    die("in a move, before the page map names the new store");
    return Failed{};
  }
  auto old = std::move(segment.next);
  segment.next.reset();
  segment.pages.set_store(old->store->id);
  std::swap(segment.store, old->store);
  std::swap(segment.store_fd, old->fd);
  world_.kernel.note_move(old->store, segment.store);
  world_.note("worker {}: segment {} has moved to store {}", pid, request.segment,
              segment.store->number);
  std::ranges::fill(old->store->pages, 0);
  return Done{};
}

void SimWorker::leave_card() {
  const bool needs_card = std::ranges::any_of(
      segments, [](const auto& known) { return known.second.store->is_on_card(); });
  if (needs_card) return;
  world_.note("worker {}: leaves the card", pid);
  start.leaves_card = true;
  has_context_ = false;
  give_up_reserve();
}

void SimWorker::fail_to(const Request& request) {
  if (const auto* given = std::get_if<Remove>(&request)) remove(*given);
  if (const auto* given = std::get_if<FinishMove>(&request)) {
    const auto segment = segments.find(given->segment);
    if (segment != segments.end()) segment->second.next.reset();
  }
}

}  // namespace vramswap::simulation
