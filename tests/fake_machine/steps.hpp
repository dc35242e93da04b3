// The supervisor's steps on the machine, in order, and the step that must fail.
#pragma once

#include <boost/asio/post.hpp>
#include <cerrno>
#include <optional>
#include <string>
#include <vector>

#include "daemon/supervisor/asio.hpp"

namespace vramswap::fake {

class Steps {
 public:
  // Notes the step. An error: it is the step that must fail.
  Result<void> take(std::string name) {
    names_.push_back(name);
    if (fails_at_ && names_.size() - 1 == *fails_at_) {
      fails_at_.reset();
      return Error{name + ": ordered to fail", EIO};
    }
    return {};
  }
  // The same for a step that takes time in the kernel: other work proceeds meanwhile.
  awaitable<Result<void>> take(asio::io_context& io, std::string name) {
    auto result = take(std::move(name));
    ErrorCode ignored;
    co_await asio::post(io, into(ignored));
    co_return result;
  }
  // Step number `index` from now on, counted from 0, fails once.
  void fail_at(std::size_t index) { fails_at_ = names_.size() + index; }
  void clear() { names_.clear(); }
  // Whether the step that was to fail has come.
  bool has_failed() const { return !fails_at_; }

  const std::vector<std::string>& names() const { return names_; }

 private:
  std::vector<std::string> names_;
  std::optional<std::size_t> fails_at_;
};

}  // namespace vramswap::fake
