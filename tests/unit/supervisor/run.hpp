// Runs one piece of work on a reactor of the real machine.
#pragma once

#include <optional>

#include "daemon/supervisor/asio.hpp"

namespace vramswap {

template <class T>
T run(asio::io_context& io, awaitable<T> work) {
  std::optional<T> result;
  asio::co_spawn(
      io, [&]() -> awaitable<void> { result = co_await std::move(work); }, asio::detached);
  io.restart();
  io.run();
  return std::move(*result);
}

}  // namespace vramswap
