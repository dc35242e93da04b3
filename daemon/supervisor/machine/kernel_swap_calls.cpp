#include "daemon/supervisor/machine/kernel_swap_calls.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/close_range.h>
#include <sys/swap.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <optional>

#include "daemon/base/page_size.hpp"
#include "daemon/base/wait_status.hpp"
#include "daemon/supervisor/machine/child.hpp"

namespace vramswap {
namespace {

// A child without exec would keep every descriptor of the supervisor open for as long as the call
// takes.
void close_inherited() {
  close_range(3, ~0U, 0);
}

// `call` returns 0 or an errno, and so does the child.
Result<void> result_of(const std::string& device, const char* call, int status) {
  if (status == 0) return {};
  if (WIFEXITED(status)) return fail_errno(device, call, WEXITSTATUS(status));
  return fail(fmt::format("{}: {}: {}", device, call, describe_wait_status(status)));
}

class SwapOffChild : public SwapOff {
 public:
  SwapOffChild(std::string device, Child child)
      : device_(std::move(device)), child_(std::move(child)) {}

  awaitable<Result<void>> wait() override {
    const int status = co_await child_.wait();
    co_return result_of(device_, "swapoff", status);
  }
  void kill() override { child_.kill(); }

 private:
  const std::string device_;
  Child child_;
};

int read_one_page(const char* device, std::uint64_t offset) {
  const UniqueFd fd(open(device, O_RDONLY | O_DIRECT | O_CLOEXEC));
  if (!fd) return errno;
  alignas(kPageBytes) static char page[kPageBytes];
  const ssize_t bytes = pread(fd.get(), page, sizeof page, static_cast<off_t>(offset));
  return bytes < 0 ? errno : bytes == sizeof page ? 0 : EIO;
}

}  // namespace

Result<std::vector<SwapArea>> KernelSwapCalls::areas() const {
  return read_swap_areas(paths_.swaps);
}

Result<MemoryInfo> KernelSwapCalls::memory() const {
  return read_memory_info(paths_.memory_info);
}

awaitable<Result<void>> KernelSwapCalls::make_area(std::string device) {
  std::vector<std::string> arguments{"mkswap", "--label", "vramswap", std::move(device)};
  co_return co_await run_program(io_, std::move(arguments));
}

awaitable<Result<void>> KernelSwapCalls::on(std::string device, int priority) {
  const int flags =
      priority < 0 ? 0
                   : SWAP_FLAG_PREFER | ((priority << SWAP_FLAG_PRIO_SHIFT) & SWAP_FLAG_PRIO_MASK);
  auto child = Child::start(io_, [&] {
    close_inherited();
    return swapon(device.c_str(), flags) == 0 ? 0 : errno;
  });
  if (!child) co_return child.error();
  const int status = co_await child->wait();
  auto result = result_of(device, "swapon", status);
  if (result) co_return result;
  Error error = std::move(result.error());
  if (error.code == EPERM) {
    error.message += "; the kernel allows no more swap areas: turn one off (swapon --show)";
  }
  if (error.code == EBUSY) error.message += "; another program has the device open";
  co_return error;
}

Result<std::unique_ptr<SwapOff>> KernelSwapCalls::off(std::string device) {
  auto child = Child::start(io_, [&] {
    close_inherited();
    return swapoff(device.c_str()) == 0 ? 0 : errno;
  });
  if (!child) return child.error();
  return std::make_unique<SwapOffChild>(std::move(device), *std::move(child));
}

awaitable<Result<void>> KernelSwapCalls::read_page(std::string device, std::uint64_t offset,
                                                   std::chrono::seconds limit) {
  auto started = Child::start(io_, [&] {
    close_inherited();
    return read_one_page(device.c_str(), offset);
  });
  if (!started) co_return started.error();
  // A read that waits for its device cannot be killed: whoever waits for the child outlives this
  // call then.
  struct Read {
    Child child;
    std::unique_ptr<Timer> timer;
    std::optional<int> status = {};
  };
  const auto read = std::make_shared<Read>(*std::move(started), clock_.make_timer());
  read->timer->expires_after(limit);
  asio::co_spawn(
      io_,
      [](std::shared_ptr<Read> shared) -> awaitable<void> {
        shared->status = co_await shared->child.wait();
        shared->timer->cancel();
      }(read),
      asio::detached);
  co_await read->timer->wait();
  if (read->status) co_return result_of(device, "read", *read->status);
  read->child.kill();
  co_return fail_errno(device, "read", ETIMEDOUT);
}

Result<bool> KernelSwapCalls::is_held(std::string device) const {
  const UniqueFd fd(open(device.c_str(), O_RDWR | O_EXCL | O_CLOEXEC));
  if (fd) return false;
  if (errno == EBUSY) return true;
  return fail_errno(device, "open", errno);
}

}  // namespace vramswap
