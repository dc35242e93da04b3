#include "daemon/worker/process/engine.hpp"

#include <algorithm>

#include "daemon/system/hardening.hpp"
#include "daemon/worker/store/ram_store.hpp"
#include "daemon/worker/store/vram_store.hpp"

namespace vramswap {

Result<std::unique_ptr<Engine>> Engine::start(const messages::Start& start, DriverFiles& driver,
                                              ContextRoom& room, int report_pipe, bool hardened,
                                              CopyNotes* copy_notes, bool has_card) {
  std::unique_ptr<Engine> engine(new Engine);
  const auto memory = hardened ? HostMemory::unswappable : HostMemory::swappable;
  engine->host_ = make_ram_device(memory);
  StoreDevices devices(*engine->host_);
  if (start.backend == control::Backend::vram && has_card) {
    auto device = make_vram_device(start.gpu, driver, memory, room);
    if (!device) return device.error();
    engine->card_ = *std::move(device);
    devices.add(*engine->card_);
  }
  for (unsigned i = 0; i < start.io_threads; ++i) {
    auto thread = IoThread::start(devices, report_pipe,
                                  {.realtime = hardened, .copy_notes = copy_notes, .number = i});
    if (!thread) return thread.error();
    engine->threads_.push_back(*std::move(thread));
  }
  if (hardened) {
    if (auto result = verify_every_thread_is_io_flusher(); !result) {
      return result.error();
    }
  }
  return engine;
}

Result<StoreDevice*> Engine::device_at(StorePlace place) {
  if (place == StorePlace::host) return host_.get();
  if (!card_) return fail("there is no GPU context");
  return card_.get();
}

Result<void> Engine::serve(ServedSegment& segment, messages::ConnectionName name, UniqueFd socket) {
  return threads_[name.thread]->add(
      std::make_unique<Connection>(std::move(socket), segment, name.id));
}

Result<void> Engine::drop(const ServedSegment& segment) {
  for (const auto& thread : threads_) {
    if (auto result = thread->drop(segment); !result) return result;
  }
  return {};
}

Result<bool> Engine::pause(std::chrono::milliseconds limit) {
  const auto deadline = Clock::now() + limit;
  for (std::size_t paused = 0; paused < threads_.size(); ++paused) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    const auto result = threads_[paused]->pause(std::max(left, std::chrono::milliseconds(1)));
    if (result && *result) continue;
    for (std::size_t i = 0; i < paused; ++i) (void)threads_[i]->resume();
    return result;
  }
  return true;
}

Result<void> Engine::resume() {
  for (const auto& thread : threads_) {
    if (auto result = thread->resume(); !result) return result;
  }
  return {};
}

std::vector<ParkedConnection> Engine::connections() const {
  std::vector<ParkedConnection> all;
  for (const auto& thread : threads_) {
    const auto some = thread->connections();
    all.insert(all.end(), some.begin(), some.end());
  }
  return all;
}

std::uint64_t Engine::requests_served() const {
  std::uint64_t sum = 0;
  for (const auto& thread : threads_) sum += thread->requests_served();
  return sum;
}

control::IoStats Engine::stats() const {
  control::IoStats sum;
  for (const auto& thread : threads_) sum.add(thread->stats());
  return sum;
}

std::optional<Engine::Clock::time_point> Engine::copy_started_at() const {
  std::optional<Clock::time_point> first;
  for (const auto& thread : threads_) {
    const auto since = thread->copy_started_at();
    if (since && (!first || *since < *first)) first = since;
  }
  return first;
}

}  // namespace vramswap
