// A file with a given content, for parsers that take a path. It needs no file system.
#pragma once

#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "daemon/base/unique_fd.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace vramswap::fuzz {

class MemoryFile {
 public:
  MemoryFile() : fd_(memfd_create("fuzz", MFD_CLOEXEC)) {}

  void set(std::string_view text) {
    require(ftruncate(fd_.get(), 0) == 0 &&
                pwrite(fd_.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()),
            "the input can be written to a file");
  }
  std::string path() const { return fmt::format("/proc/self/fd/{}", fd_.get()); }

 private:
  UniqueFd fd_;
};

}  // namespace vramswap::fuzz
