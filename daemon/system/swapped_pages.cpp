#include "daemon/system/swapped_pages.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "daemon/base/directory.hpp"
#include "daemon/base/page_size.hpp"
#include "daemon/system/proc.hpp"

namespace vramswap {
namespace {

// Documentation/admin-guide/mm/pagemap.rst
constexpr std::uint64_t kSwapped = 1ULL << 62;
constexpr unsigned kTypeBits = 5;
constexpr unsigned kFrameBits = 55;  // type and offset
// include/linux/swap.h: MAX_SWAPFILES is not less. Entries of higher types may be no pages in swap:
// pages that are being moved, or that cannot be read.
constexpr unsigned kLeastMaxAreas = 23;
// At a time. Swapoff goes on meanwhile, so more of them would be out of date.
constexpr std::uint64_t kEntries = 2048;

template <class Integer>
bool take_number(std::string_view& text, Integer& number, int base = 10) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return error == std::errc{};
}

std::string_view take_word(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  const std::string_view word = text.substr(0, text.find(' '));
  text.remove_prefix(word.size());
  return word;
}

// By hand, for there may be thousands of processes. A name cannot hold a line's end.
std::uint64_t swap_bytes(std::string_view status) {
  constexpr std::string_view kKey = "\nVmSwap:";
  const auto found = status.find(kKey);
  if (found == status.npos) return 0;  // a thread of the kernel
  status.remove_prefix(found + kKey.size());
  status.remove_prefix(std::min(status.find_first_not_of(" \t"), status.size()));
  std::uint64_t kilobytes = 0;
  return take_number(status, kilobytes) ? kilobytes * 1024 : 0;
}

// "7f00-7f10 rw-p 00000000 00:00 0    [heap]": range, permissions, offset, device, inode, name.
std::optional<AddressRange> parse_anonymous_mapping(std::string_view line) {
  AddressRange range;
  if (!take_number(line, range.begin, 16) || !line.starts_with('-')) return std::nullopt;
  line.remove_prefix(1);
  if (!take_number(line, range.end, 16)) return std::nullopt;
  const bool is_private = take_word(line).ends_with('p');
  take_word(line);
  take_word(line);
  if (!is_private || take_word(line) != "0") return std::nullopt;
  return range;
}

}  // namespace

std::vector<SwappedProcess> list_swapped_processes(std::uint64_t least_bytes,
                                                   const std::string& processes) {
  std::vector<SwappedProcess> list;
  const auto names = list_directory(processes);
  if (!names) return list;
  for (const std::string& name : *names) {
    std::string_view digits = name;
    SwappedProcess process;
    if (!take_number(digits, process.pid) || !digits.empty()) continue;
    process.swap_bytes =
        swap_bytes(read_file(fmt::format("{}/{}/status", processes, name)).value_or(""));
    if (process.swap_bytes >= least_bytes && process.swap_bytes != 0) list.push_back(process);
  }
  std::ranges::sort(list, std::ranges::greater{}, &SwappedProcess::swap_bytes);
  return list;
}

std::vector<AddressRange> parse_anonymous_mappings(std::string_view maps) {
  std::vector<AddressRange> mappings;
  while (!maps.empty()) {
    const std::string_view line = maps.substr(0, maps.find('\n'));
    if (const auto mapping = parse_anonymous_mapping(line)) mappings.push_back(*mapping);
    maps.remove_prefix(std::min(line.size() + 1, maps.size()));
  }
  return mappings;
}

SwappedPageWalk::SwappedPageWalk(const std::string& process_directory, std::uint64_t max_looks)
    : pagemap_(open((process_directory + "/pagemap").c_str(), O_RDONLY | O_CLOEXEC)),
      looks_left_(max_looks) {
  if (!pagemap_) return;
  mappings_ = parse_anonymous_mappings(read_file(process_directory + "/maps").value_or(""));
  std::erase_if(mappings_, [&](const AddressRange& mapping) {
    return (mapping.end - mapping.begin) / kPageBytes > max_looks;
  });
  if (!mappings_.empty()) next_address_ = mappings_[0].begin;
}

std::optional<SwappedPage> SwappedPageWalk::next() {
  for (;;) {
    while (entry_ < entries_.size()) {
      const std::uint64_t entry = entries_[entry_++];
      if ((entry & kSwapped) == 0) continue;
      const auto type = static_cast<unsigned>(entry & ((1U << kTypeBits) - 1));
      if (type >= kLeastMaxAreas) continue;
      return SwappedPage{.address = next_address_ - (entries_.size() - entry_ + 1) * kPageBytes,
                         .type = type,
                         .offset = (entry & ((1ULL << kFrameBits) - 1)) >> kTypeBits,
                         .mapping = mappings_[mapping_]};
    }
    if (!fill()) return std::nullopt;
  }
}

// False: the walk is over.
bool SwappedPageWalk::fill() {
  entry_ = 0;
  entries_.clear();
  while (mapping_ < mappings_.size() && next_address_ == mappings_[mapping_].end) {
    if (++mapping_ < mappings_.size()) next_address_ = mappings_[mapping_].begin;
  }
  if (mapping_ == mappings_.size() || looks_left_ == 0) return false;
  const std::uint64_t pages = (mappings_[mapping_].end - next_address_) / kPageBytes;
  entries_.resize(std::min({pages, looks_left_, kEntries}));
  const auto position = static_cast<off_t>(next_address_ / kPageBytes * sizeof entries_[0]);
  const ssize_t bytes =
      pread(pagemap_.get(), entries_.data(), entries_.size() * sizeof entries_[0], position);
  // 0: the process has ended.
  if (bytes < static_cast<ssize_t>(sizeof entries_[0])) {
    mapping_ = mappings_.size();
    entries_.clear();
    return false;
  }
  entries_.resize(static_cast<std::size_t>(bytes) / sizeof entries_[0]);
  looks_left_ -= entries_.size();
  next_address_ += entries_.size() * kPageBytes;
  return true;
}

SwapInSlice next_slice(SwappedPageWalk& walk, unsigned type, std::uint64_t max_pages,
                       std::uint64_t max_range_pages) {
  SwapInSlice slice;
  AddressRange mapping;  // of the last range; empty: the next page begins another one
  while (slice.pages < max_pages) {
    const auto page = walk.next();
    if (!page) break;
    if (page->type != type) {
      mapping = {};
      continue;
    }
    const std::uint64_t end = page->address + kPageBytes;
    if (page->mapping == mapping &&
        end - slice.ranges.back().begin <= max_range_pages * kPageBytes) {
      slice.ranges.back().end = end;
    } else {
      slice.ranges.push_back({page->address, end});
      mapping = page->mapping;
    }
    ++slice.pages;
  }
  return slice;
}

}  // namespace vramswap
