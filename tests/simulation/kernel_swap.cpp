// The part of the kernel that swaps.
#include <algorithm>
#include <cerrno>

#include "daemon/base/page_size.hpp"
#include "tests/simulation/kernel.hpp"
#include "tests/simulation/world.hpp"

namespace vramswap::simulation {
namespace {

using namespace std::chrono_literals;

// A swapoff waits so long before it looks again whether its device is served.
constexpr std::chrono::nanoseconds kWait = 20ms;
constexpr unsigned kPagesAtOnce = 8;  // that swapoff reads

}  // namespace

bool Kernel::has_swap() const {
  return std::ranges::any_of(devices_, [](const auto& known) { return known.second.is_swap; });
}

std::vector<SwapArea> Kernel::areas() const {
  std::vector<SwapArea> areas;
  for (const auto& [index, device] : devices_) {
    if (!device.is_swap) continue;
    areas.push_back({.path = device.path(),
                     .type = "partition",
                     .size_bytes = device.page_count * kPageBytes,
                     .used_bytes = device.pages.size() * kPageBytes,
                     .priority = device.priority});
  }
  return areas;
}

void Kernel::swap_on(Device& device, int priority) {
  world_.note("kernel: {} is swap", device.path());
  device.is_swap = true;
  device.priority = priority;
}

void Kernel::write_pages(std::uint64_t choice) {
  Random random(choice);
  Device* device = choose(random.next(), true);
  HeldSegment* segment = device == nullptr ? nullptr : server_of(*device);
  if (segment == nullptr) return;
  for (auto count = 1 + random.below(4); count > 0; --count) {
    const std::uint64_t page = 1 + random.below(device->page_count - 1);  // the first is the header
    segment->store->pages[page] = ++last_content_;
    const bool was_lost = segment->pages.at(page) == PageState::lost;
    segment->pages.set_valid(page, static_cast<std::uint32_t>(last_content_));
    if (was_lost) tell_of_lost_pages(*segment);
    device->pages[page] = last_content_;
    device->destroyed.erase(page);
  }
}

void Kernel::read_pages(std::uint64_t choice) {
  Random random(choice);
  Device* device = choose(random.next(), true);
  if (device == nullptr || device->pages.empty() || server_of(*device) == nullptr) return;
  auto page = std::next(device->pages.begin(),
                        static_cast<std::ptrdiff_t>(random.below(device->pages.size())));
  read_page(*device, page->first);
  // Its owner may write to it, or end.
  if (random.one_in(3)) {
    device->destroyed.erase(page->first);
    device->pages.erase(page);
  }
}

void Kernel::corrupt_page(std::uint64_t choice) {
  Random random(choice);
  Device* device = choose(random.next(), true);
  if (device == nullptr || device->pages.empty() || !device->store) return;
  const auto page = std::next(device->pages.begin(),
                              static_cast<std::ptrdiff_t>(random.below(device->pages.size())));
  world_.note("page {} of {} changes in the store", page->first, device->path());
  device->store->pages[page->first] = 0;
  device->destroyed.insert(page->first);
}

void Kernel::tell_of_lost_pages(const HeldSegment& segment) {
  for (const auto& worker : world_.workers.living()) worker->tell_of_lost_pages(segment);
}

void Kernel::read_page(Device& device, std::uint64_t page) {
  HeldSegment* segment = server_of(device);
  if (segment == nullptr) return;
  // As the worker does before it answers.
  const auto checksum = static_cast<std::uint32_t>(segment->store->pages[page]);
  if (segment->pages.at(page) == PageState::valid &&
      !segment->pages.is_valid_with(page, checksum)) {
    segment->pages.lose_corrupt(page);
    tell_of_lost_pages(*segment);
  }
  const PageState state = segment->pages.at(page);
  if (state == PageState::lost && device.destroyed.contains(page)) return;  // SIGBUS, as it must
  if (state == PageState::valid && segment->store->pages[page] == device.pages.at(page)) return;
  world_.violate(fmt::format("page {} of {} reads as {}", page, device.path(),
                             state == PageState::lost    ? "lost, and its bytes are there"
                             : state == PageState::empty ? "zeros"
                                                         : "wrong bytes"));
}

void Kernel::verify_all() {
  for (auto& [index, device] : devices_) {
    if (!device.is_swap) continue;
    for (const auto& [page, content] : device.pages) read_page(device, page);
  }
}

void Kernel::note_move(const std::shared_ptr<Store>& from, const std::shared_ptr<Store>& to) {
  for (auto& [index, device] : devices_) {
    if (device.store == from) device.store = to;
  }
}

void Kernel::destroy_pages(const Store& store) {
  for (auto& [index, device] : devices_) {
    if (device.store.get() != &store) continue;
    for (const auto& [page, content] : device.pages) device.destroyed.insert(page);
  }
}

// Its pages find room in memory.
void Kernel::swap_off_by_hand(std::uint64_t choice) {
  Device* device = choose(choice, true);
  if (device == nullptr || server_of(*device) == nullptr) return;
  world_.note("somebody else swaps off {}", device->path());
  was_touched_by_others_ = true;
  world_.clients.disturb();
  device->is_swap = false;
  device->pages.clear();
  device->destroyed.clear();
}

bool Kernel::is_past_dead_timeout(const Device& device) const {
  return !device.is_connected || world_.now() - device.unserved_since > device.dead_timeout;
}

std::shared_ptr<SwapOffCall> Kernel::swap_off(Device& device) {
  check();
  if (!device.is_served && device.unserved_since < world_.now() &&
      device.pages.size() > device.destroyed.size()) {
    world_.violate(fmt::format("swapoff begins on {}, which nobody serves", device.path()));
  }
  world_.note("kernel: swapoff {}", device.path());
  auto call = std::make_shared<SwapOffCall>();
  call->device = device.index;
  if (std::ranges::find(swap_offs_, device.index, &SwapOffCall::device) != swap_offs_.end()) {
    call->result = fail_errno(device.path(), "swapoff", EINVAL);
    return call;
  }
  call->page_time = world_.faults.swap_off_is_slow ? 2s : 1ms;
  world_.faults.swap_off_is_slow = false;
  swap_offs_.push_back(call);
  world_.after(world_.some_latency(), [this, call] { go_on_swapping_off(call); });
  return call;
}

void Kernel::end(SwapOffCall& call, Result<void> result) {
  world_.note("kernel: swapoff of nbd{}: {}", call.device,
              result ? "done" : result.error().message);
  // It may take swap away that the next client has seen.
  if (call.is_orphaned) world_.clients.disturb();
  call.result = std::move(result);
  std::erase_if(swap_offs_, [&](const auto& known) { return known.get() == &call; });
  call.on_end();
}

// As try_to_unuse() does it: a page that cannot be read is given up, and so are all others of that
// process, before a signal is looked at.
void Kernel::go_on_swapping_off(const std::shared_ptr<SwapOffCall>& call) {
  if (call->result) return;
  const auto found = devices_.find(call->device);
  if (found == devices_.end() || !found->second.is_swap) {
    return end(*call, fail_errno(device_path(call->device), "swapoff", EINVAL));
  }
  Device& device = found->second;
  const bool is_served = server_of(device) != nullptr;
  if (!is_served && !device.pages.empty()) {
    if (!is_past_dead_timeout(device)) {
      world_.after(kWait, [this, call] { go_on_swapping_off(call); });
      return;
    }
    lose_all_pages(device);
  }
  if (call->is_killed && !device.pages.empty()) {
    return end(*call, Error{device.path() + ": swapoff: killed by SIGKILL"});
  }
  for (unsigned i = 0; i < kPagesAtOnce && !device.pages.empty(); ++i) {
    const std::uint64_t page = device.pages.begin()->first;
    read_page(device, page);
    device.pages.erase(page);
    device.destroyed.erase(page);
  }
  if (device.pages.empty()) {
    device.is_swap = false;
    return end(*call, {});
  }
  world_.after(call->page_time, [this, call] { go_on_swapping_off(call); });
}

void Kernel::lose_all_pages(Device& device) {
  const bool all_were_destroyed = device.pages.size() == device.destroyed.size();
  device.pages.clear();
  device.destroyed.clear();
  if (!all_were_destroyed) {
    world_.violate(
        fmt::format("swapoff gives up the pages of {}, for their reads fail", device.path()));
  }
}

void Kernel::kill_swap_off(SwapOffCall& call) {
  call.is_killed = true;
}

void Kernel::kill_all_swap_offs() {
  for (const auto& call : swap_offs_) {
    call->is_killed = true;
    call->is_orphaned = true;
    call->on_end = [] {};
  }
}

bool Kernel::kill_a_swap_off() {
  if (swap_offs_.empty()) return false;
  swap_offs_.front()->is_killed = true;
  return true;
}

}  // namespace vramswap::simulation
