// The kernel's swap: areas on devices, and swapoff that succeeds, fails, or waits to be killed.
#pragma once

#include <set>

#include "daemon/supervisor/machine/swap_calls.hpp"
#include "tests/fake_machine/steps.hpp"

namespace vramswap::fake {

class FakeSwap : public SwapCalls {
 public:
  FakeSwap(asio::io_context& io, Steps& steps) : io_(io), steps_(steps) {}

  Result<std::vector<SwapArea>> areas() const override { return areas_; }
  Result<MemoryInfo> memory() const override { return memory_info; }
  Result<std::optional<MemoryCommitment>> commitment() const override { return memory_commitment; }
  awaitable<std::vector<CgroupExcess>> crowded_groups(
      std::uint64_t returning_bytes) const override {
    asked_for_bytes = returning_bytes;
    co_return crowded;
  }
  awaitable<Result<void>> make_area(std::string device) override;
  awaitable<Result<void>> on(std::string device, int priority) override;
  Result<std::unique_ptr<SwapOff>> off(std::string device) override;
  std::unique_ptr<SwapReadAhead> read_ahead(std::string device) override;
  awaitable<Result<void>> read_page(std::string device, std::uint64_t offset,
                                    std::chrono::seconds limit) override;
  Result<bool> is_held(std::string device) const override {
    if (unknown_looks > 0) {
      --unknown_looks;
      return fail_errno(device, "open", unknown_code);
    }
    return is_on(device) || held.contains(device);
  }

  // So many looks whether a device is held come to nothing.
  mutable unsigned unknown_looks = 0;
  int unknown_code = ETIMEDOUT;

  bool is_on(const std::string& device) const;
  void turn_off(const std::string& device);
  void set_used(const std::string& device, std::uint64_t used_bytes);

  MemoryInfo memory_info{.total_bytes = 8ULL << 30, .available_bytes = 4ULL << 30};
  std::optional<MemoryCommitment> memory_commitment;
  std::vector<CgroupExcess> crowded;
  // With what crowded_groups() was called last.
  mutable std::uint64_t asked_for_bytes = 0;
  // swapoff on one of them runs until it is killed.
  std::set<std::string> off_waits;
  // Ahead of whose swapoff pages are being asked for.
  std::multiset<std::string> read_aheads;
  // So many are refused, for another one is under way.
  unsigned refuse_offs = 0;
  std::set<std::string> unreadable;
  // Somebody holds them exclusively, and /proc/swaps does not show it.
  std::set<std::string> held;

 private:
  asio::io_context& io_;
  Steps& steps_;
  std::vector<SwapArea> areas_;
};

}  // namespace vramswap::fake
