// A device or file that is read and written without the page cache (O_DIRECT).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "daemon/base/error.hpp"
#include "daemon/base/page_size.hpp"
#include "daemon/base/unique_fd.hpp"

namespace vramswap::swapctl {

// Memory for direct I/O: page-aligned, filled with random bytes, which no store can compress.
class PageBuffer {
 public:
  explicit PageBuffer(std::size_t bytes);

  std::span<std::byte> bytes() const { return {memory_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  std::size_t size_;
  std::unique_ptr<std::byte, Free> memory_;
};

class DirectFile {
 public:
  // For a device or file that may carry swap. Uses only the first `size_bytes` of it, rounded down
  // to pages.
  static Result<DirectFile> open_for_reading(const std::string& path, std::uint64_t size_bytes);

  // Opens for writing, too. An error unless the daemon of a scratch segment has connected the
  // device and it is not a swap area. It cannot become one while it is open.
  static Result<DirectFile> open_scratch(const std::string& path, std::uint64_t size_bytes,
                                         const std::string& swaps_path,
                                         const std::string& block_directory);

  // `offset` and the size of `bytes` must be multiples of the page size. Transfers all bytes or
  // returns an error.
  Result<void> read(std::span<std::byte> bytes, std::uint64_t offset) const;
  Result<void> write(std::span<const std::byte> bytes, std::uint64_t offset) const;

  std::uint64_t size_bytes() const { return size_bytes_; }
  int fd() const { return fd_.get(); }

 private:
  DirectFile(UniqueFd fd, std::string path, std::uint64_t size_bytes)
      : fd_(std::move(fd)), path_(std::move(path)), size_bytes_(size_bytes) {}
  static Result<DirectFile> open(const std::string& path, int flags, std::uint64_t size_bytes);
  Result<void> check(std::ptrdiff_t done, std::size_t wanted, const char* operation,
                     std::uint64_t offset) const;

  UniqueFd fd_;
  std::string path_;
  std::uint64_t size_bytes_;
};

}  // namespace vramswap::swapctl
