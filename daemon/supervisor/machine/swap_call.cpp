#include "daemon/supervisor/machine/swap_call.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/swap.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "daemon/base/page_size.hpp"
#include "daemon/base/unique_fd.hpp"
#include "daemon/control/daemon_arguments.hpp"
#include "daemon/supervisor/machine/swap_read_ahead.hpp"
#include "daemon/system/block_queue.hpp"
#include "daemon/system/hardening.hpp"

namespace vramswap {
namespace {

int turn_on(const char* device, long priority) {
  const int flags = priority < 0
                        ? 0
                        : SWAP_FLAG_PREFER | ((static_cast<int>(priority) << SWAP_FLAG_PRIO_SHIFT) &
                                              SWAP_FLAG_PRIO_MASK);
  return swapon(device, flags) == 0 ? 0 : errno;
}

int turn_off(const char* device) {
  end_io_flusher();
  return swapoff(device) == 0 ? 0 : errno;
}

// Its allocations may wait for swap, as those of swapoff(2) do.
int read_pages_ahead(const char* device) {
  end_io_flusher();
  read_ahead(device, KernelPaths{}, kernel_read_ahead_calls());
  return 0;
}

int read_one_page(const char* device, off_t offset) {
  const UniqueFd fd(open(device, O_RDONLY | O_DIRECT | O_CLOEXEC));
  if (!fd) return errno;
  alignas(kPageBytes) static char page[kPageBytes];
  const ssize_t bytes = pread(fd.get(), page, sizeof page, offset);
  return bytes < 0 ? errno : bytes == sizeof page ? 0 : EIO;
}

// Read-only: when a descriptor that could write is closed, udev reads the device.
int claim(const char* device) {
  const UniqueFd fd(open(device, O_RDONLY | O_EXCL | O_CLOEXEC));
  return fd ? 0 : errno;
}

int limit_requests(const char* device_name, long max_request_bytes) {
  const auto set = set_request_limit(device_name, static_cast<std::uint64_t>(max_request_bytes));
  if (set) return 0;
  std::fprintf(stderr, "%s\n", set.error().message.c_str());
  return set.error().code;
}

}  // namespace

std::optional<int> make_swap_call(int argc, char** argv) {
  if (argc < 2 || std::string_view(argv[1]) != kSwapCallOption) return std::nullopt;
  // Otherwise the process would be called by the number of a descriptor, by which it was started.
  prctl(PR_SET_NAME, "vramswap-call");
  if (argc < 4) return EINVAL;
  const std::string_view call = argv[2];
  const char* device = argv[3];
  const bool has_number = argc == 5;
  const long number = has_number ? std::strtol(argv[4], nullptr, 10) : 0;
  if (call == "on" && has_number) return turn_on(device, number);
  if (call == "off") return turn_off(device);
  if (call == "read-ahead") return read_pages_ahead(device);
  if (call == "read" && has_number) return read_one_page(device, number);
  if (call == "limit" && has_number) return limit_requests(device, number);
  if (call == "claim") return claim(device);
  return EINVAL;
}

}  // namespace vramswap
