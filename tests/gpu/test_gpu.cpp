#include "tests/gpu/test_gpu.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>

#include "daemon/base/page_size.hpp"
#include "daemon/handover/page_map.hpp"

namespace vramswap::load {
namespace {

using Clock = std::chrono::steady_clock;

std::vector<std::string> worker_command() {
  static const std::string reason = why_not_hardened();
  std::vector<std::string> command{std::filesystem::read_symlink("/proc/self/exe").parent_path() /
                                   "test_worker"};
  if (!reason.empty()) command.emplace_back("--unhardened");
  command.emplace_back("--fault-on-sigusr1");
  return command;
}

template <class T>
T value_of(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  if constexpr (!std::is_void_v<T>) return *std::move(result);
}

}  // namespace

std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

Result<TestGpu> find_gpu() {
  auto worker = WorkerProcess::spawn(worker_command());
  if (!worker) return worker.error();
  const auto device = worker->start(control::Backend::vram, "0", 1);
  if (!device) return device.error();
  return TestGpu{device->uuid, device->name};
}

std::uint64_t segment_bytes() {
  return number_from_environment("VRAMSWAP_RECOVERY_SEGMENT_MIB", 512) << 20;
}

TestSegment::TestSegment(std::string uuid)
    : uuid_(std::move(uuid)),
      page_map_(value_of(PageMap::create(segment_bytes() / sizeof(Page)))) {}

void TestSegment::start_worker(std::chrono::seconds doze_after) {
  sockets_.clear();
  UniqueFd reserve = worker_ ? std::move(worker_->context_reserve) : UniqueFd();
  worker_.reset();  // it is dead from here on
  worker_ = std::make_unique<WorkerProcess>(value_of(WorkerProcess::spawn(worker_command())));
  worker_->context_reserve = std::move(reserve);
  std::vector<int> fds;
  if (worker_->context_reserve) fds.push_back(worker_->context_reserve.get());
  const auto started = value_of(worker_->start(messages::Start{.backend = control::Backend::vram,
                                                               .gpu = uuid_,
                                                               .io_threads = kConnections,
                                                               .doze_after = doze_after,
                                                               .context_bytes = context_bytes_,
                                                               .has_context_reserve = !fds.empty()},
                                               fds));
  context_bytes_ = started.context_bytes;
  settle();
  if (store_) {
    value_of(worker_->import(0, segment_bytes(), page_map_.get(), store_.get()));
  } else {
    store_ = value_of(worker_->create(0, segment_bytes(), page_map_.get()));
  }
  sockets_ = value_of(worker_->connect(0, kConnections));
}

std::vector<int> TestSegment::sockets() const {
  std::vector<int> numbers;
  for (const UniqueFd& socket : sockets_) numbers.push_back(socket.get());
  return numbers;
}

StorePlace TestSegment::place() const {
  return value_of(PageMap::map(page_map_.get(), segment_bytes() / kPageBytes)).store().place;
}

Result<TestSegment::MoveTimes> TestSegment::move_to(StorePlace place) {
  const auto pages = value_of(PageMap::map(page_map_.get(), segment_bytes() / kPageBytes));
  const StoreId target{pages.store().serial + 1, place};
  MoveTimes times;
  auto start = Clock::now();
  auto prepared = worker_->ask(messages::PrepareMove{0, target});
  if (!prepared) return prepared.error();
  times.prepare_ms = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
  next_store_ = std::move(prepared->fds.at(0));
  start = Clock::now();
  const auto finished = worker_->ask(messages::FinishMove{0});
  if (!finished) return finished.error();
  times.finish_ms = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
  settle();
  return times;
}

// Only while no worker can be finishing a move.
void TestSegment::settle() {
  if (!next_store_) return;
  const auto store = value_of(PageMap::map(page_map_.get(), segment_bytes() / kPageBytes)).store();
  if (store.serial != serial_) store_ = std::move(next_store_);
  serial_ = store.serial;
  next_store_.reset();
}

bool TestSegment::write_everything() {
  constexpr std::uint32_t kPagesAtOnce = 256;
  const int socket = sockets_.front().get();
  Page content;
  for (std::uint64_t first = 0; first < segment_bytes() / sizeof(Page); first += kPagesAtOnce) {
    if (!send_header(socket, {.command = Command::write,
                              .offset = first * sizeof(Page),
                              .length = kPagesAtOnce * sizeof(Page)})) {
      return false;
    }
    for (std::uint32_t i = 0; i < kPagesAtOnce; ++i) {
      fill(content, first + i, 1);
      if (!send_page(socket, content, i + 1 < kPagesAtOnce)) return false;
    }
    const auto reply = receive_reply(socket);
    if (!reply || reply->error != 0) return false;
  }
  return true;
}

std::string p50_and_max(std::vector<double> values) {
  if (values.empty()) return "p50=- max=-";
  std::ranges::sort(values);
  return fmt::format("p50={:.1f} max={:.1f}", values[values.size() / 2], values.back());
}

void say(std::string_view line) {
  fmt::print("{}\n", line);
  std::fflush(stdout);
}

}  // namespace vramswap::load
