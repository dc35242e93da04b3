// Boost.Asio as the supervisor uses it: one thread, coroutines, errors as values.
#pragma once

#include <poll.h>

// clang-format off
#include <utility>  // boost/asio/awaitable.hpp of Boost 1.74 uses std::exchange without it
// clang-format on

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>

#include "daemon/base/error.hpp"
#include "daemon/base/unique_fd.hpp"

namespace vramswap {

namespace asio = boost::asio;
using asio::awaitable;
using ErrorCode = boost::system::error_code;

// Completion token: resumes with the error in `error` instead of throwing.
inline auto into(ErrorCode& error) {
  return asio::redirect_error(asio::use_awaitable, error);
}

// A descriptor that can be waited for. It stays owned by a UniqueFd.
class WatchedFd {
 public:
  WatchedFd(asio::io_context& io, UniqueFd fd) : fd_(std::move(fd)), descriptor_(io, fd_.get()) {}
  ~WatchedFd() { descriptor_.release(); }
  WatchedFd(const WatchedFd&) = delete;

  int get() const { return fd_.get(); }
  bool is_readable() const {
    pollfd now{fd_.get(), POLLIN, 0};
    return poll(&now, 1, 0) != 0;
  }
  // Returns when there is something to read (or the end), or when cancelled.
  awaitable<ErrorCode> readable() {
    ErrorCode error;
    // Asio may wake it for an event of a descriptor that is closed by now, and whoever waits for a
    // process would wait for it in a system call then.
    do {
      co_await descriptor_.async_wait(asio::posix::stream_descriptor::wait_read, into(error));
    } while (!error && !is_readable());
    co_return error;
  }
  void cancel() {
    ErrorCode ignored;
    descriptor_.cancel(ignored);
  }

 private:
  UniqueFd fd_;
  asio::posix::stream_descriptor descriptor_;
};

}  // namespace vramswap
