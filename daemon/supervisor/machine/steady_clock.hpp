// The kernel's clock.
#pragma once

#include "daemon/supervisor/machine/clock.hpp"

namespace vramswap {

class SteadyClock : public Clock {
 public:
  explicit SteadyClock(asio::io_context& io) : io_(io) {}
  TimePoint now() const override;
  std::int64_t wall_time() const override;
  std::unique_ptr<Timer> make_timer() override;

 private:
  asio::io_context& io_;
};

}  // namespace vramswap
