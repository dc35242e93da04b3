// The memory that is set aside for workers, and the last resort where there is none.
#pragma once

#include <algorithm>
#include <optional>

#include "daemon/supervisor/machine/last_resort.hpp"
#include "daemon/supervisor/machine/memory_reserve.hpp"

namespace vramswap::fake {

class FakeMemoryReserve : public MemoryReserve {
 public:
  static constexpr std::uint64_t kStepBytes = 1 << 20;

  explicit FakeMemoryReserve(asio::io_context& io)
      : filled_(io, asio::steady_timer::time_point::max()) {}

  void set_size(std::uint64_t bytes) override { size_ = bytes; }
  std::uint64_t size_bytes() const override { return size_; }
  bool is_full() const override { return held >= size_; }
  bool is_empty() const override { return held == 0; }
  awaitable<Result<void>> fill_step() override {
    ErrorCode ignored;
    while (fill_waits) co_await filled_.async_wait(into(ignored));
    if (!is_full()) held += kStepBytes;
    co_return Result<void>{};
  }
  void release_step() override { held -= std::min(held, std::max(size_ / 32, kStepBytes)); }
  void release() override { held = 0; }

  // The kernel has found the memory that fill_step() waits for.
  void go_on() {
    fill_waits = false;
    filled_.cancel();
  }

  std::uint64_t held = 0;
  // The kernel finds no memory: fill_step() waits until go_on().
  bool fill_waits = false;

 private:
  std::uint64_t size_ = 0;
  asio::steady_timer filled_;
};

class FakeLastResort : public LastResort {
 public:
  void begin(std::uint64_t needed_bytes) override {
    needed = needed_bytes;
    ++begun;
  }
  void end() override { needed.reset(); }

  std::optional<std::uint64_t> needed;  // while it stands by
  unsigned begun = 0;
};

}  // namespace vramswap::fake
