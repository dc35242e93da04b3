#include "tests/fake_machine/fake_swap.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace vramswap::fake {
namespace {

class FakeSwapOff : public SwapOff {
 public:
  FakeSwapOff(asio::io_context& io, FakeSwap& swap, std::string device)
      : swap_(swap),
        device_(std::move(device)),
        killed_(io, asio::steady_timer::time_point::max()) {}

  awaitable<Result<void>> wait() override {
    ErrorCode ignored;
    while (swap_.off_waits.contains(device_) && !is_killed_) {
      co_await killed_.async_wait(into(ignored));
    }
    if (is_killed_) co_return Error{device_ + ": swapoff: killed by SIGKILL"};
    swap_.turn_off(device_);
    co_return Result<void>{};
  }
  void kill() override {
    is_killed_ = true;
    killed_.cancel();
  }

 private:
  FakeSwap& swap_;
  const std::string device_;
  asio::steady_timer killed_;
  bool is_killed_ = false;
};

class FakeReadAhead : public SwapReadAhead {
 public:
  FakeReadAhead(FakeSwap& swap, std::string device) : swap_(swap), device_(std::move(device)) {
    swap_.read_aheads.insert(device_);
  }
  ~FakeReadAhead() override { swap_.read_aheads.erase(swap_.read_aheads.find(device_)); }

 private:
  FakeSwap& swap_;
  const std::string device_;
};

}  // namespace

awaitable<Result<void>> FakeSwap::make_area(std::string device) {
  co_return co_await steps_.take(io_, "mkswap " + device);
}

awaitable<Result<void>> FakeSwap::on(std::string device, int priority) {
  if (auto step = co_await steps_.take(io_, "swapon " + device); !step) co_return step;
  if (is_on(device)) co_return fail_errno(device, "swapon", EBUSY);
  areas_.push_back(
      {.path = device, .type = "partition", .size_bytes = 64 << 20, .priority = priority});
  co_return Result<void>{};
}

Result<std::unique_ptr<SwapOff>> FakeSwap::off(std::string device) {
  if (auto step = steps_.take("swapoff " + device); !step) return step.error();
  if (refuse_offs > 0) {
    --refuse_offs;
    return fail_errno(device, "swapoff", EINVAL);
  }
  return std::make_unique<FakeSwapOff>(io_, *this, std::move(device));
}

std::unique_ptr<SwapReadAhead> FakeSwap::read_ahead(std::string device) {
  return std::make_unique<FakeReadAhead>(*this, std::move(device));
}

awaitable<Result<void>> FakeSwap::read_page(std::string device, std::uint64_t,
                                            std::chrono::seconds) {
  if (auto step = co_await steps_.take(io_, "read " + device); !step) co_return step;
  if (unreadable.contains(device)) co_return fail_errno(device, "read", ETIMEDOUT);
  co_return Result<void>{};
}

bool FakeSwap::is_on(const std::string& device) const {
  return std::ranges::find(areas_, device, &SwapArea::path) != areas_.end();
}

void FakeSwap::turn_off(const std::string& device) {
  std::erase_if(areas_, [&](const SwapArea& area) { return area.path == device; });
}

void FakeSwap::set_used(const std::string& device, std::uint64_t used_bytes) {
  std::ranges::find(areas_, device, &SwapArea::path)->used_bytes = used_bytes;
}

}  // namespace vramswap::fake
