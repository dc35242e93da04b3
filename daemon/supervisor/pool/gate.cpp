#include "daemon/supervisor/pool/gate.hpp"

namespace vramswap {

struct Gate::State {
  explicit State(asio::io_context& io) : emptied(io, asio::steady_timer::time_point::max()) {}

  unsigned passes = 0;
  bool is_closed = false;
  asio::steady_timer emptied;  // never expires; cancelled when the last pass leaves
};

Gate::Pass::Pass(std::shared_ptr<State> state) : state_(std::move(state)) {
  ++state_->passes;
}

void Gate::Pass::leave() {
  const auto state = std::exchange(state_, nullptr);
  if (state && --state->passes == 0) state->emptied.cancel();
}

Gate::Gate(asio::io_context& io) : state_(std::make_shared<State>(io)) {}

std::optional<Gate::Pass> Gate::enter() {
  if (state_->is_closed) return std::nullopt;
  return Pass(state_);
}

awaitable<std::optional<Gate::Pass>> Gate::enter_alone() {
  co_await wait_until_empty();
  co_return enter();
}

bool Gate::is_empty() const {
  return state_->passes == 0;
}

awaitable<void> Gate::wait_until_empty() {
  const auto state = state_;
  ErrorCode cancelled;
  while (state->passes > 0) co_await state->emptied.async_wait(into(cancelled));
}

awaitable<void> Gate::close_and_wait() {
  state_->is_closed = true;
  co_await wait_until_empty();
}

}  // namespace vramswap
