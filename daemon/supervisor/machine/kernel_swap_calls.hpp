// The running kernel's swap. What waits for a device is done by a child (see swap_call.hpp).
#pragma once

#include "daemon/supervisor/machine/clock.hpp"
#include "daemon/supervisor/machine/kernel_paths.hpp"
#include "daemon/supervisor/machine/swap_calls.hpp"

namespace vramswap {

class KernelSwapCalls : public SwapCalls {
 public:
  KernelSwapCalls(asio::io_context& io, Clock& clock, KernelPaths paths)
      : io_(io), clock_(clock), paths_(std::move(paths)) {}

  Result<std::vector<SwapArea>> areas() const override;
  Result<MemoryInfo> memory() const override;
  Result<std::optional<MemoryCommitment>> commitment() const override;
  awaitable<std::vector<CgroupExcess>> crowded_groups(std::uint64_t returning_bytes) const override;
  awaitable<Result<void>> make_area(std::string device) override;
  awaitable<Result<void>> on(std::string device, int priority) override;
  Result<std::unique_ptr<SwapOff>> off(std::string device) override;
  std::unique_ptr<SwapReadAhead> read_ahead(std::string device) override;
  awaitable<Result<void>> read_page(std::string device, std::uint64_t offset,
                                    std::chrono::seconds limit) override;
  Result<bool> is_held(std::string device) const override;

 private:
  asio::io_context& io_;
  Clock& clock_;
  const KernelPaths paths_;
};

}  // namespace vramswap
