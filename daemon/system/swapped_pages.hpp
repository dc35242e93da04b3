// Which pages of a process are in swap, and where there: proc_pid_status(5), proc_pid_maps(5),
// proc_pid_pagemap(5). A process that is gone has none.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/unique_fd.hpp"

namespace vramswap {

struct SwappedProcess {
  pid_t pid = 0;
  std::uint64_t swap_bytes = 0;  // without shared memory
};
// Those with at least `least_bytes` in swap, the one with most first.
std::vector<SwappedProcess> list_swapped_processes(std::uint64_t least_bytes,
                                                   const std::string& processes = "/proc");

struct AddressRange {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  bool operator==(const AddressRange&) const = default;
};
// The private mappings without a file. For any other one, MADV_WILLNEED asks for pages of the file.
std::vector<AddressRange> parse_anonymous_mappings(std::string_view maps);

struct SwappedPage {
  std::uint64_t address = 0;
  unsigned type = 0;         // of the swap area: its number in the kernel
  std::uint64_t offset = 0;  // in the area, in pages
  AddressRange mapping;      // the page is in
};

// The pages in swap of a process's private mappings without a file, by address.
class SwappedPageWalk {
 public:
  // To look at a page that is not in swap costs time, too: larger mappings than `max_looks` pages
  // are left out, and the walk ends when it has looked at so many.
  SwappedPageWalk(const std::string& process_directory, std::uint64_t max_looks);

  std::optional<SwappedPage> next();

 private:
  bool fill();

  UniqueFd pagemap_;
  std::vector<AddressRange> mappings_;
  std::uint64_t looks_left_;
  std::size_t mapping_ = 0;
  std::uint64_t next_address_ = 0;      // the first that is not in entries_
  std::vector<std::uint64_t> entries_;  // of the mapping, the last one for the page before it
  std::size_t entry_ = 0;               // the next one
};

// Pages that are asked for at once.
struct SwapInSlice {
  std::vector<AddressRange> ranges;
  std::uint64_t pages = 0;
};
// The next pages of the walk that are in the area `type`, at most `max_pages`. A range is of one
// mapping, has no pages of other areas, and spans `max_range_pages` at most. No page: none is left.
SwapInSlice next_slice(SwappedPageWalk& walk, unsigned type, std::uint64_t max_pages,
                       std::uint64_t max_range_pages);

}  // namespace vramswap
