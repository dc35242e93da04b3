#include "daemon/supervisor/pool/pool.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ranges>

#include "daemon/handover/worker_socket.hpp"
#include "daemon/supervisor/pool/adopt.hpp"
#include "daemon/supervisor/pool/pool_plan.hpp"
#include "daemon/supervisor/pool/swap_off_fit.hpp"
#include "daemon/supervisor/spawn.hpp"
#include "daemon/system/log.hpp"

namespace vramswap {
namespace {

constexpr std::chrono::milliseconds kProgressInterval{250};
// Between two attempts to take over what an earlier supervisor left: a pause that doubles.
constexpr std::chrono::milliseconds kFirstAdoptPause{100};
constexpr std::chrono::milliseconds kLongestAdoptPause{5000};

}  // namespace

Pool::Pool(Machine& machine, PoolOptions options)
    : machine_(machine),
      options_(std::move(options)),
      reserve_(machine, options_.keeps_reserve),
      publisher_(machine, options_.page_map_memory, parts_),
      operations_(machine.io),
      returning_(machine.io) {}

// One operation at a time; the next one is refused, not queued, unless the options say so.
awaitable<Result<Gate::Pass>> Pool::begin_operation() {
  // A step of a loan takes a second.
  while (is_adjusting_ || (is_busy() && options_.waits_for_operation)) {
    co_await operations_.wait_until_empty();
  }
  if (is_busy()) co_return fail("another up or down is in progress");
  co_return *operations_.enter();
}

awaitable<Result<void>> Pool::up(control::UpRequest request) {
  const auto operation = co_await begin_operation();
  if (!operation) co_return operation.error();
  if (is_up() && !options_.up_already.empty()) co_return fail(options_.up_already);
  const bool any_off = std::ranges::any_of(
      parts_.segments, [](const auto& segment) { return segment->is_off_by_others(); });
  if (any_off && control::encode(request) == control::encode(parts_.request)) {
    co_return co_await swap_on_again();
  }
  if (is_up()) {
    co_return fail(fmt::format("up already: {}; run 'vramswap down' first", summary(parts_)));
  }
  parts_.request = std::move(request);
  parts_.pool_id = options_.make_pool_id();
  const unsigned connections = parts_.request.connections;
  parts_.settings =
      SegmentSettings::of(options_, parts_.request, parts_.pool_id,
                          connections != 0 ? connections : options_.default_connections);
  auto result = co_await bring_up();
  if (!result) {
    co_await release_all();
  } else if (options_.makes_swap_area) {
    log_info(fmt::format("swap is on: {}", summary(parts_)), {.message_id = message_ids::kSwapOn});
  }
  co_return result;
}

// What somebody else has swapped off.
awaitable<Result<void>> Pool::swap_on_again() {
  for (const auto& segment : parts_.segments) {
    if (!segment->is_off_by_others()) continue;
    if (auto on = co_await segment->swap_on_again(); !on) co_return on;
    const std::string device = segment->path();
    log_info(fmt::format("{}: somebody else had swapped it off; it is on again", device),
             {.message_id = message_ids::kSwapOn, .device = device, .segment = segment->id()});
  }
  co_return Result<void>{};
}

awaitable<Result<void>> Pool::bring_up() {
  if (auto opened = co_await machine_.nbd.open(); !opened) co_return opened;
  const auto infos = co_await start_workers();
  if (!infos) co_return infos.error();
  // While there is memory.
  size_reserve();
  if (auto filled = co_await reserve_.fill(); !filled) co_return filled;
  const auto plan = plan_pool(parts_.request, *infos);
  if (!plan) co_return plan.error();
  // All memory first: what does not fit fails before the kernel has heard of anything.
  for (const SegmentPlan& planned : *plan) {
    const PoolDescription::Segment known{.id = static_cast<std::uint32_t>(parts_.segments.size()),
                                         .device = static_cast<std::uint32_t>(planned.device),
                                         .size_bytes = planned.size_bytes,
                                         .priority = planned.priority};
    auto& segment = *parts_.segments.emplace_back(std::make_unique<Segment>(
        machine_, parts_.settings, *parts_.slots[planned.device], publisher_, known));
    if (auto created = co_await segment.create_store(); !created) co_return created;
  }
  // Before the kernel writes a page.
  co_await publisher_.publish();
  for (const auto& segment : parts_.segments) {
    if (auto connected = co_await segment->connect(); !connected) co_return connected;
  }
  // With the numbers of the devices.
  co_await publisher_.publish();
  for (const auto& segment : parts_.segments) {
    if (auto active = co_await segment->activate(); !active) co_return active;
  }
  // With the limits of the queues.
  co_await publisher_.publish();
  co_return Result<void>{};
}

awaitable<Result<std::vector<StoreDeviceInfo>>> Pool::start_workers() {
  const auto& request = parts_.request;
  auto selectors = request.gpus;
  if (selectors.empty() || request.backend == control::Backend::ram) selectors = {""};
  std::vector<StoreDeviceInfo> infos;
  for (const std::string& selector : selectors) {
    const std::size_t index = parts_.slots.size();
    const messages::Start start{
        .backend = request.backend,
        .gpu = selector,
        .io_threads = parts_.settings.connections,
        .rendezvous = worker_socket::path(options_.runtime_directory, index),
        .doze_after = control::doze_after(request),
        .hang_timeout = request.hang_timeout};
    PoolDescription::Device known;
    known.start = start;
    auto& slot = *parts_.slots.emplace_back(
        std::make_unique<WorkerSlot>(machine_, reserve_, publisher_, index, std::move(known)));
    if (auto started = co_await slot.start(); !started) co_return started.error();
    const StoreDeviceInfo& info = slot.info();
    if (std::ranges::find(infos, info.uuid, &StoreDeviceInfo::uuid) != infos.end()) {
      co_return fail(fmt::format("gpu '{}': is {} ({}), which was given already", selector,
                                 info.name, info.uuid));
    }
    infos.push_back(info);
    // The first card may be another one after a restart.
    if (!info.uuid.empty()) slot.pin_gpu(info.uuid);
  }
  co_return infos;
}

// For the neediest worker.
void Pool::size_reserve() {
  std::uint64_t most = 0;
  for (const auto& slot : parts_.slots) most = std::max(most, slot->worker_bytes());
  reserve_.set_worker_bytes(most);
}

awaitable<Result<void>> Pool::down(bool force, ProgressSink progress) {
  const auto operation = co_await begin_operation();
  if (!operation) co_return operation.error();
  if (!is_up()) co_return fail("nothing is up");
  auto off = co_await swap_off_all(force, progress);
  if (!off) co_return off;
  if (options_.makes_swap_area) log_info("swap is off", {.message_id = message_ids::kSwapOff});
  co_await release_all();
  if (is_up()) co_return fail("not everything could be freed; see the log");
  co_return Result<void>{};
}

void Pool::cancel_down() {
  is_cancelled_ = true;
  for (const auto& segment : parts_.segments) segment->kill_swap_off();
}

void Pool::resume_workers() {
  for (const auto& slot : parts_.slots) {
    if (slot->worker()) slot->worker()->resume();
  }
}

awaitable<Result<void>> Pool::swap_off_all(bool force, const ProgressSink& progress) {
  is_cancelled_ = false;
  const auto areas = machine_.swap.areas();
  if (!areas) co_return areas.error();
  if (!force) {
    std::vector<std::string> ours;
    for (const auto& segment : parts_.segments) {
      if (segment->has_nbd()) ours.push_back(segment->path());
    }
    if (auto fits = co_await check_swap_off_fits(machine_.swap, *areas, ours); !fits)
      co_return fits;
  }
  // The next supervisor is to go on with it, should this one die.
  co_await note_going_down(true);
  auto off = co_await swap_off_segments(force, progress);
  if (!off) co_await note_going_down(false);
  co_return off;
}

awaitable<void> Pool::note_going_down(bool is_going_down) {
  parts_.is_going_down = is_going_down;
  publisher_.show();
  co_await publisher_.publish();
}

// If one fails, those that were swapped off before it are swapped on again. The error says which
// could not.
awaitable<Result<void>> Pool::swap_off_segments(bool force, const ProgressSink& progress) {
  const auto is_over = std::make_shared<bool>(false);
  if (progress) spawn(machine_.io, report_progress(progress, is_over));
  Result<void> result;
  std::vector<Segment*> swapped_off;
  // The lowest rank first: it is the emptiest, and its pages may go to the others only.
  for (const auto& segment : std::views::reverse(parts_.segments)) {
    if (!segment->carries_swap()) continue;
    if (is_cancelled_) {
      result = fail("cancelled");
    } else {
      result = co_await segment->swap_off(force);
    }
    if (!result) break;
    swapped_off.push_back(segment.get());
  }
  *is_over = true;
  if (result) co_return result;
  std::string as_before = "the swap is up as before";
  for (Segment* segment : std::views::reverse(swapped_off)) {
    const auto on = co_await segment->activate();
    if (on) continue;
    as_before += fmt::format(", except that {} stays off: {}", segment->path(), on.error().message);
  }
  const std::string why = is_cancelled_ ? "cancelled: " : result.error().message + "; ";
  co_return fail(why + as_before);
}

awaitable<void> Pool::report_progress(ProgressSink progress,
                                      std::shared_ptr<const bool> is_over) const {
  const std::uint64_t total = used_bytes(parts_, machine_.swap);
  while (co_await machine_.clock.sleep(kProgressInterval), !*is_over) {
    const auto current =
        std::ranges::find(parts_.segments, SegmentState::swapping_off, &Segment::state);
    if (current == parts_.segments.end()) continue;
    const std::uint64_t left = std::min(used_bytes(parts_, machine_.swap), total);
    progress({(*current)->path(), total - left, total});
  }
}

// Frees what can be freed, from whatever state; what cannot stays up and is logged.
awaitable<void> Pool::release_all() {
  // All devices first: a worker that dies meanwhile is replaced for what is left of them only.
  for (const auto& segment : std::views::reverse(parts_.segments)) {
    if (auto result = co_await segment->disconnect(); !result) log_error(result.error().message);
  }
  for (const auto& segment : std::views::reverse(parts_.segments)) {
    if (auto result = co_await segment->release_store(); !result) log_error(result.error().message);
  }
  co_await drop_released();
}

awaitable<void> Pool::drop_released() {
  // With the last of the others, those that are lent go, too.
  const bool all = std::ranges::all_of(parts_.segments, [](const auto& segment) {
    return segment->state() == SegmentState::planned;
  });
  const bool is_down = all && parts_.is_going_down;
  const auto is_to_go = [is_down](const auto& segment) { return is_down || segment->is_gone(); };
  for (const auto& segment : parts_.segments) {
    if (is_to_go(segment)) co_await segment->close();
  }
  std::erase_if(parts_.segments, is_to_go);
  if (is_up()) co_return;
  for (const auto& slot : parts_.slots) co_await slot->dismiss();
  parts_.slots.clear();
  parts_.is_going_down = false;
  parts_.loans.clear();
  publisher_.show();
  co_await publisher_.withdraw();
  reserve_.release();
}

// A worker that does not answer may be the only holder of the swapped pages: it is waited for.
awaitable<Result<PoolParts>> Pool::find_parts(NamedFds inherited) {
  bool is_logged = false;
  for (auto pause = kFirstAdoptPause;; pause = std::min(pause * 2, kLongestAdoptPause)) {
    auto parts = co_await vramswap::adopt(machine_, options_, reserve_, publisher_, inherited);
    if (parts || !adoption_may_succeed_later(parts.error())) co_return parts;
    if (!is_logged) {
      log_error(parts.error().message + "; trying again until it is taken over",
                {.message_id = message_ids::kRecoveryFailed});
    }
    is_logged = true;
    publisher_.show_note("cannot take over the swap yet: " + parts.error().message);
    co_await machine_.clock.sleep(pause);
  }
}

awaitable<Result<void>> Pool::adopt(NamedFds inherited) {
  publisher_.show_note("looking for swap of an earlier vramswapd");
  auto parts = co_await find_parts(std::move(inherited));
  if (!parts) co_return parts.error();
  parts_ = *std::move(parts);
  publisher_.show_note("");
  if (parts_.slots.empty()) co_return Result<void>{};
  size_reserve();
  // At once: a slot without a worker is being recovered for all that ask from now on.
  for (const auto& slot : parts_.slots) {
    if (!slot->is_running()) slot->lose_worker();
  }
  spawn(machine_.io, finish_adoption(*operations_.enter()));
  co_return Result<void>{};
}

// Gives workers what they lack, and undoes what the dead supervisor had half done.
awaitable<void> Pool::finish_adoption([[maybe_unused]] Gate::Pass pass) {
  for (const auto& slot : parts_.slots) {
    if (slot->is_serving()) co_await slot->finish_setup();
  }
  for (const auto& segment : std::views::reverse(parts_.segments)) {
    if (segment->carries_swap()) {
      segment->push_memory();
      segment->update_lost_pages();
      continue;
    }
    if (auto gone = co_await segment->disconnect(); !gone) {
      log_error(gone.error().message);
    } else if (auto freed = co_await segment->release_store(); !freed) {
      log_error(freed.error().message);
    }
  }
  co_await drop_released();
  if (!is_up()) co_return;
  co_await note_going_down(false);
  log_info(fmt::format("took over the swap of an earlier vramswapd: {}", summary(parts_)),
           {.message_id = message_ids::kTookOver});
  reserve_.refill();
  spawn(machine_.io, forget_held_loans(parts_.loans.held()));
}

Result<Gate::Pass> Pool::begin_reload() {
  if (is_busy()) return fail("an up or down is in progress: reload when it is over");
  if (auto whole = check_is_whole(); !whole) return whole.error();
  return *operations_.enter();
}

Result<void> Pool::check_is_whole() const {
  for (const auto& slot : parts_.slots) {
    if (!slot->is_serving()) {
      return fail(fmt::format("the worker of {} is dead or being replaced: reload when it serves",
                              slot->info().name));
    }
  }
  return {};
}

bool Pool::is_held_by_workers() const {
  return std::ranges::none_of(parts_.slots, [](const auto& slot) { return slot->lacks_worker(); });
}

awaitable<Result<void>> Pool::replace_workers(std::string program) {
  for (const auto& slot : parts_.slots) {
    if (auto replaced = co_await slot->replace_program(program); !replaced) co_return replaced;
  }
  co_return Result<void>{};
}

std::string Pool::identifier_prefix() const {
  return is_up() ? parts_.settings.identifier_prefix : "";
}

}  // namespace vramswap
