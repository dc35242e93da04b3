#include "daemon/supervisor/machine/kernel_swap_calls.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "daemon/supervisor/machine/child.hpp"
#include "daemon/supervisor/machine/nbd_path.hpp"
#include "daemon/supervisor/machine/swap_call_child.hpp"
#include "daemon/supervisor/spawn.hpp"

namespace vramswap {
namespace {

// To open a device takes milliseconds, unless the kernel looks for partitions on it and nobody
// serves it.
constexpr std::chrono::milliseconds kClaimLimit{1000};

// Less than that is read by the time that a child has started.
constexpr std::uint64_t kLeastReadAhead = 4 << 20;

// A call that waits for its device cannot be killed: somebody waits for the child, and outlives
// whoever started it.
void leave_to_end(asio::io_context& io, Child child) {
  child.kill();
  spawn(io,
        [](Child ending) -> awaitable<void> { (void)co_await ending.wait(); }(std::move(child)));
}

class SwapOffChild : public SwapOff {
 public:
  SwapOffChild(std::string device, Child child)
      : device_(std::move(device)), child_(std::move(child)) {}

  awaitable<Result<void>> wait() override {
    const auto status = co_await child_.wait();
    co_return swap_call_result(device_, "swapoff", status);
  }
  void kill() override { child_.kill(); }

 private:
  const std::string device_;
  Child child_;
};

// May hang, as whatever reads from the device may.
class ReadAheadChild : public SwapReadAhead {
 public:
  ReadAheadChild(asio::io_context& io, Child child) : io_(io), child_(std::move(child)) {}
  ~ReadAheadChild() override { leave_to_end(io_, std::move(child_)); }

 private:
  asio::io_context& io_;
  Child child_;
};

}  // namespace

Result<std::vector<SwapArea>> KernelSwapCalls::areas() const {
  return read_nbd_swap_areas(paths_.swaps, paths_.block_directory);
}

Result<bool> KernelSwapCalls::is_held(std::string device) const {
  auto child = start_swap_call(io_, {"claim", device});
  if (!child) return child.error();
  const auto result = swap_call_result(device, "open", child->wait_for(kClaimLimit));
  if (result) return false;
  if (result.error().code == EBUSY) return true;
  // Without a file in /dev nothing can be asked. Swap on the device shows in /proc/swaps still.
  if (result.error().code == ENOENT) return false;
  if (result.error().code == ETIMEDOUT) leave_to_end(io_, *std::move(child));
  return result.error();
}

Result<MemoryInfo> KernelSwapCalls::memory() const {
  return read_memory_info(paths_.memory_info);
}

Result<std::optional<MemoryCommitment>> KernelSwapCalls::commitment() const {
  return read_memory_commitment(paths_.overcommit_memory, paths_.memory_info);
}

// Group by group, so that whatever else the supervisor has to do comes in between.
awaitable<std::vector<CgroupExcess>> KernelSwapCalls::crowded_groups(
    std::uint64_t returning_bytes) const {
  CgroupWalk walk(returning_bytes, paths_.control_groups);
  while (walk.look_at_next()) {
    ErrorCode ignored;
    co_await asio::post(io_, into(ignored));
  }
  co_return walk.found();
}

awaitable<Result<void>> KernelSwapCalls::make_area(std::string device) {
  // A label of its own for each, of at most 16 bytes: systemd makes a unit for a label.
  const std::string number = device.substr(device.find_last_not_of("0123456789") + 1);
  std::vector<std::string> arguments{"mkswap", "--label", "vramswap-" + number, std::move(device)};
  co_return co_await run_program(io_, std::move(arguments));
}

awaitable<Result<void>> KernelSwapCalls::on(std::string device, int priority) {
  std::vector<std::string> call{"on", device, std::to_string(priority)};
  auto child = start_swap_call(io_, std::move(call));
  if (!child) co_return child.error();
  const auto status = co_await child->wait();
  auto result = swap_call_result(device, "swapon", status);
  if (result) co_return result;
  Error error = std::move(result.error());
  if (error.code == EPERM) {
    error.message += "; the kernel allows no more swap areas: turn one off (swapon --show)";
  }
  if (error.code == EBUSY) error.message += "; another program has the device open";
  co_return error;
}

Result<std::unique_ptr<SwapOff>> KernelSwapCalls::off(std::string device) {
  auto child = start_swap_call(io_, {"off", device});
  if (!child) return child.error();
  return std::make_unique<SwapOffChild>(std::move(device), *std::move(child));
}

std::unique_ptr<SwapReadAhead> KernelSwapCalls::read_ahead(std::string device) {
  const auto areas = this->areas();
  if (!areas) return nullptr;
  const auto area = std::ranges::find(*areas, device, &SwapArea::path);
  if (area == areas->end() || area->used_bytes < kLeastReadAhead) return nullptr;
  auto child = start_swap_call(io_, {"read-ahead", std::move(device)});
  if (!child) return nullptr;
  return std::make_unique<ReadAheadChild>(io_, *std::move(child));
}

awaitable<Result<void>> KernelSwapCalls::read_page(std::string device, std::uint64_t offset,
                                                   std::chrono::seconds limit) {
  std::vector<std::string> call{"read", device, std::to_string(offset)};
  auto started = start_swap_call(io_, std::move(call));
  if (!started) co_return started.error();
  // A read that waits for its device cannot be killed: whoever waits for the child outlives this
  // call then.
  struct Read {
    Child child;
    std::unique_ptr<Timer> timer;
    std::optional<Result<int>> status = {};
  };
  const auto read = std::make_shared<Read>(*std::move(started), clock_.make_timer());
  read->timer->expires_after(limit);
  spawn(io_, [](std::shared_ptr<Read> shared) -> awaitable<void> {
    shared->status = co_await shared->child.wait();
    shared->timer->cancel();
  }(read));
  co_await read->timer->wait();
  if (read->status) co_return swap_call_result(device, "read", *read->status);
  read->child.kill();
  co_return fail_errno(device, "read", ETIMEDOUT);
}

}  // namespace vramswap
