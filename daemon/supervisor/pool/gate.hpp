// Work under way, and waiting for its end.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "daemon/supervisor/asio.hpp"

namespace vramswap {

// Work enters before it begins and leaves when it is over. Whoever wants to take away what the work
// uses closes the gate and waits until all work has left. For one thread.
class Gate {
  struct State;

 public:
  // Work under way: it leaves when its pass is destroyed, also after the gate itself is gone.
  class Pass {
   public:
    Pass() = default;
    explicit Pass(std::shared_ptr<State> state);
    Pass(Pass&& other) noexcept : state_(std::move(other.state_)) {}
    Pass& operator=(Pass&& other) noexcept {
      std::swap(state_, other.state_);
      return *this;
    }
    ~Pass() { leave(); }
    void leave();

   private:
    std::shared_ptr<State> state_;
  };

  explicit Gate(asio::io_context& io);
  Gate(const Gate&) = delete;

  // Nothing: the gate is closed.
  [[nodiscard]] std::optional<Pass> enter();
  // Waits until no other work is under way, so that one piece of work follows the other. Nothing:
  // the gate is closed.
  awaitable<std::optional<Pass>> enter_alone();

  bool is_empty() const;
  awaitable<void> wait_until_empty();
  // No work enters any more; waits until what is under way has left.
  awaitable<void> close_and_wait();

 private:
  std::shared_ptr<State> state_;
};

}  // namespace vramswap
