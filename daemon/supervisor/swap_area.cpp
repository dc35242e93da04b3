#include "daemon/supervisor/swap_area.hpp"

#include <fmt/format.h>
#include <linux/close_range.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace vramswap {
namespace {

// A child without exec would keep every descriptor of the supervisor open for as long as the call
// takes.
void close_inherited() {
  close_range(3, ~0U, 0);
}

}  // namespace

awaitable<Result<void>> make_swap_area(asio::io_context& io, std::string device) {
  std::vector<std::string> arguments{"mkswap", "--label", "vramswap", std::move(device)};
  co_return co_await run_program(io, std::move(arguments));
}

awaitable<Result<void>> swap_on(asio::io_context& io, std::string device, int priority) {
  const int flags =
      priority < 0 ? 0
                   : SWAP_FLAG_PREFER | ((priority << SWAP_FLAG_PRIO_SHIFT) & SWAP_FLAG_PRIO_MASK);
  auto child = Child::start(io, [&] {
    close_inherited();
    return swapon(device.c_str(), flags) == 0 ? 0 : errno;
  });
  if (!child) co_return child.error();
  const int status = co_await child->wait();
  if (status == 0) co_return Result<void>{};
  if (!WIFEXITED(status)) {
    co_return fail(fmt::format("{}: swapon: {}", device, describe_wait_status(status)));
  }
  Error error = errno_error(device, "swapon", WEXITSTATUS(status));
  if (error.code == EPERM) {
    error.message += "; the kernel allows no more swap areas: turn one off (swapon --show)";
  }
  if (error.code == EBUSY) error.message += "; another program has the device open";
  co_return std::unexpected(std::move(error));
}

Result<Child> start_swap_off(asio::io_context& io, std::string device) {
  return Child::start(io, [&] {
    close_inherited();
    return swapoff(device.c_str()) == 0 ? 0 : errno;
  });
}

Result<void> swap_off_result(const std::string& device, int status) {
  if (status == 0) return {};
  if (WIFEXITED(status)) return fail_errno(device, "swapoff", WEXITSTATUS(status));
  return fail(fmt::format("{}: swapoff: {}", device, describe_wait_status(status)));
}

}  // namespace vramswap
