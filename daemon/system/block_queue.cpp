#include "daemon/system/block_queue.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <string_view>

#include "daemon/base/page_size.hpp"
#include "daemon/base/unique_fd.hpp"
#include "daemon/system/proc.hpp"

namespace vramswap {
namespace {

// The smallest default of any kernel (nbd on 6.1).
constexpr std::uint64_t kLeastDefaultLimit = 128 << 10;

Result<void> set(const std::string& path, std::string_view value) {
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT) return {};
    return fail_errno(path, "open", errno);
  }
  if (write(fd.get(), value.data(), value.size()) < 0) {
    // wbt_lat_usec exists, but answers EINVAL, on a queue without writeback throttling.
    if (errno == EINVAL && path.ends_with("/wbt_lat_usec")) return {};
    return fail_errno(path, fmt::format("write {}", value), errno);
  }
  return {};
}

}  // namespace

Result<std::uint64_t> set_queue_for_swap(const std::string& device_name,
                                         std::uint64_t max_request_bytes,
                                         std::chrono::milliseconds request_timeout,
                                         const std::string& block_directory) {
  const std::string queue = fmt::format("{}/{}/queue/", block_directory, device_name);
  if (auto result = set(queue + "scheduler", "none"); !result) return result.error();
  if (auto result = set(queue + "wbt_lat_usec", "0"); !result) return result.error();
  const auto timeout = fmt::format("{}", request_timeout.count());
  if (auto result = set(queue + "io_timeout", timeout); !result) return result.error();
  const auto text = read_file(queue + "max_sectors_kb");
  if (!text) return text.error();
  // A daemon that died while pages were lost has left the limit of a single page.
  const std::uint64_t present =
      std::max<std::uint64_t>(std::strtoull(text->c_str(), nullptr, 10) * 1024, kLeastDefaultLimit);
  const std::uint64_t limit = std::min(present, max_request_bytes);
  if (auto result = set_request_limit(device_name, limit, block_directory); !result) {
    return result.error();
  }
  return limit;
}

Result<void> set_request_limit(const std::string& device_name, std::uint64_t max_request_bytes,
                               const std::string& block_directory) {
  const std::string queue = fmt::format("{}/{}/queue/", block_directory, device_name);
  const char* nomerges = max_request_bytes == kPageBytes ? "2" : "0";
  if (auto result = set(queue + "nomerges", nomerges); !result) return result;
  return set(queue + "max_sectors_kb", fmt::format("{}", max_request_bytes / 1024));
}

Result<void> restore_request_timeout(const std::string& device_name,
                                     const std::string& block_directory) {
  return set(fmt::format("{}/{}/queue/io_timeout", block_directory, device_name),
             fmt::format("{}", kKernelRequestTimeout.count()));
}

std::string read_backend_identifier(const std::string& device_name,
                                    const std::string& block_directory) {
  auto text = read_file(fmt::format("{}/{}/backend", block_directory, device_name));
  if (!text) return {};
  if (text->ends_with('\n')) text->pop_back();
  return *std::move(text);
}

bool is_nbd_in_use(const std::string& device_name, const std::string& block_directory) {
  return read_file(fmt::format("{}/{}/pid", block_directory, device_name)).has_value();
}

}  // namespace vramswap
