#include "swapctl/bench/direct_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <new>
#include <random>

#include "daemon/control/scratch.hpp"
#include "daemon/system/block_queue.hpp"
#include "daemon/system/proc.hpp"

namespace vramswap::swapctl {

PageBuffer::PageBuffer(std::size_t bytes)
    : size_(bytes), memory_(static_cast<std::byte*>(std::aligned_alloc(kPageBytes, bytes))) {
  if (!memory_) throw std::bad_alloc();
  std::independent_bits_engine<std::mt19937_64, 8, unsigned> random;
  std::ranges::generate(this->bytes(), [&] { return static_cast<std::byte>(random()); });
}

Result<DirectFile> DirectFile::open(const std::string& path, int flags, std::uint64_t size_bytes) {
  const std::uint64_t size = size_bytes - size_bytes % kPageBytes;
  if (size == 0) return fail(fmt::format("{}: smaller than a page", path));
  UniqueFd fd(::open(path.c_str(), flags | O_DIRECT | O_CLOEXEC));
  if (!fd) return fail_errno(path, "open", errno);
  return DirectFile(std::move(fd), path, size);
}

Result<DirectFile> DirectFile::open_for_reading(const std::string& path, std::uint64_t size_bytes) {
  return open(path, O_RDONLY, size_bytes);
}

Result<DirectFile> DirectFile::open_scratch(const std::string& path, std::uint64_t size_bytes,
                                            const std::string& swaps_path,
                                            const std::string& block_directory) {
  const auto identifier =
      read_backend_identifier(std::filesystem::path(path).filename(), block_directory);
  if (!identifier.starts_with(kScratchDevicePrefix)) {
    return fail(fmt::format("{}: not a scratch segment, so bench does not write to it", path));
  }
  const auto areas = read_swap_areas(swaps_path);
  if (!areas) return areas.error();
  if (std::ranges::find(*areas, path, &SwapArea::path) != areas->end()) {
    return fail(fmt::format("{}: is a swap area, so bench does not write to it", path));
  }
  // Of a block device, O_EXCL without O_CREAT keeps swapon(2) and mount(2) away, and fails where
  // one of them has been there.
  return open(path, O_RDWR | O_EXCL, size_bytes);
}

Result<void> DirectFile::read(std::span<std::byte> bytes, std::uint64_t offset) const {
  const auto done = pread(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
  return check(done, bytes.size(), "read", offset);
}

Result<void> DirectFile::write(std::span<const std::byte> bytes, std::uint64_t offset) const {
  const auto done = pwrite(fd_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
  return check(done, bytes.size(), "write", offset);
}

Result<void> DirectFile::check(std::ptrdiff_t done, std::size_t wanted, const char* operation,
                               std::uint64_t offset) const {
  const auto what = [&] { return fmt::format("{} at {}", operation, offset); };
  if (done < 0) return fail_errno(path_, what(), errno);
  if (static_cast<std::size_t>(done) == wanted) return {};
  return fail(fmt::format("{}: {}: {} bytes instead of {}", path_, what(), done, wanted));
}

}  // namespace vramswap::swapctl
