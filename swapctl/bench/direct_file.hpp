// A device or file past the page cache (O_DIRECT).
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

// Memory for direct I/O: page-aligned, and filled with what no store can compress.
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
  // What may carry swap is opened for reading only. `size_bytes` is how much of it is used at all,
  // rounded down to pages.
  static Result<DirectFile> open_for_reading(const std::string& path, std::uint64_t size_bytes);

  // For writing, too. An error unless the device is connected by the daemon of a scratch segment
  // and is no swap area; nor can it become one while it is open.
  static Result<DirectFile> open_scratch(const std::string& path, std::uint64_t size_bytes,
                                         const std::string& swaps_path,
                                         const std::string& block_directory);

  // `offset` and the size of `bytes` are multiples of the page. All of it, or an error.
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
