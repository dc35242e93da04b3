#include "daemon/supervisor/machine/swap_read_ahead.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>
#include <thread>

#include "daemon/base/page_size.hpp"
#include "daemon/supervisor/machine/nbd_path.hpp"
#include "daemon/supervisor/machine/program.hpp"
#include "daemon/system/cgroup_room.hpp"
#include "daemon/system/proc.hpp"
#include "daemon/system/swap_area_type.hpp"

namespace vramswap {
namespace {

// A process with less is left to swapoff: to look through it would take as long.
constexpr std::uint64_t kLeastBytes = 256 << 10;
// Looking at a page takes some ten nanoseconds, and reading one ahead of swapoff saves more than
// ten microseconds. So the pages in swap are worth so many looks each.
constexpr std::uint64_t kLooksPerPage = 512;
// Room is looked for before each slice.
constexpr std::uint64_t kSlicePages = 512;
constexpr std::uint64_t kLeastSlicePages = 32;
// The pages of a range become one request. The kernel fails a request as a whole, so a page with
// wrong bytes takes no more neighbours along than in the kernel's own readahead (vm.page-cluster).
constexpr std::uint64_t kRangePages = 8;
// Reads of the device under way, with which the next slice waits. More of them make a slow worker
// miss the request timeout.
constexpr std::uint64_t kMaxReads = 64;
constexpr std::chrono::milliseconds kReadsInterval{1};
constexpr std::chrono::milliseconds kRoomInterval{50};

class ReadAhead {
 public:
  ReadAhead(const std::string& device, const KernelPaths& paths, const ReadAheadCalls& calls)
      : device_(device),
        inflight_(fmt::format("{}/{}/inflight", paths.block_directory,
                              device.substr(device.rfind('/') + 1))),
        paths_(paths),
        calls_(calls) {}

  void run() {
    const auto processes = list_swapped_processes(kLeastBytes, paths_.processes);
    const auto type = find_type(processes);
    if (!type) return;
    for (const SwappedProcess& process : processes) {
      if (!read_process(process, *type)) return;
    }
  }

 private:
  std::string directory(const SwappedProcess& process) const {
    return fmt::format("{}/{}", paths_.processes, process.pid);
  }

  SwappedPageWalk walk(const SwappedProcess& process) const {
    return {directory(process), process.swap_bytes / kPageBytes * kLooksPerPage};
  }

  // The numbers of the areas, as far as processes have pages there. The area's own is known at the
  // first page, mostly.
  std::optional<unsigned> find_type(const std::vector<SwappedProcess>& processes) const {
    SeenTypes seen;
    for (const SwappedProcess& process : processes) {
      SwappedPageWalk pages = walk(process);
      SeenTypes here;
      while (const auto page = pages.next()) {
        const bool is_new = !seen.contains(page->type);
        SeenPages& type = seen[page->type];
        type.last_offset = std::max(type.last_offset, page->offset);
        // A process and its child may share a page in swap.
        type.count = std::max(type.count, ++here[page->type].count);
        if (!is_new) continue;
        if (const auto found = match(seen)) return found;
      }
      if (const auto found = match(seen)) return found;
    }
    return std::nullopt;
  }

  std::optional<unsigned> match(const SeenTypes& seen) const {
    const auto areas = read_nbd_swap_areas(paths_.swaps, paths_.block_directory);
    if (!areas) return std::nullopt;
    const auto own = std::ranges::find(*areas, device_, &SwapArea::path);
    if (own == areas->end()) return std::nullopt;
    return find_area_type(*areas, static_cast<std::size_t>(own - areas->begin()), seen);
  }

  // False: the end of all.
  bool read_process(const SwappedProcess& process, unsigned type) const {
    SwappedPageWalk pages = walk(process);
    for (;;) {
      const auto room = wait_for_room();
      if (!room) return false;
      const std::uint64_t group_room =
          read_cgroup_room(directory(process), paths_.control_groups) / kPageBytes;
      if (group_room < kLeastSlicePages) return true;
      const SwapInSlice slice =
          next_slice(pages, type, std::min({*room, group_room, kSlicePages}), kRangePages);
      if (slice.pages == 0) return true;
      if (!calls_.ask(process.pid, slice.ranges)) return false;
    }
  }

  // In pages.
  std::optional<std::uint64_t> wait_for_room() const {
    while (reads_under_way() > kMaxReads) {
      if (!calls_.sleep(kReadsInterval)) return std::nullopt;
    }
    for (;;) {
      const auto memory = read_memory_info(paths_.memory_info);
      if (!memory) return std::nullopt;
      // Twice of what `down` leaves free, so that this ends before swapoff itself needs it.
      const std::uint64_t margin = std::max<std::uint64_t>(memory->total_bytes / 32, 32 << 20);
      const std::uint64_t room =
          (memory->available_bytes - std::min(memory->available_bytes, margin)) / kPageBytes;
      if (room >= kLeastSlicePages) return room;
      if (!calls_.sleep(kRoomInterval)) return std::nullopt;
    }
  }

  // The file has "READS WRITES".
  std::uint64_t reads_under_way() const {
    const std::string text = read_file(inflight_).value_or("");
    return std::strtoull(text.c_str(), nullptr, 10);
  }

  const std::string device_;
  const std::string inflight_;
  const KernelPaths& paths_;
  const ReadAheadCalls& calls_;
};

// A range that is not mapped any more ends a call; those behind it are asked for by the next one.
bool ask_kernel(pid_t pid, const std::vector<AddressRange>& ranges) {
  const auto process = open_pidfd(pid);
  if (!process) return true;  // it has ended
  std::vector<iovec> list;
  for (const AddressRange& range : ranges) {
    list.push_back({reinterpret_cast<void*>(range.begin), range.end - range.begin});
  }
  for (std::size_t next = 0; next < list.size();) {
    long bytes = syscall(SYS_process_madvise, process->get(), list.data() + next,
                         list.size() - next, MADV_WILLNEED, 0);
    if (bytes < 0 && errno == ESRCH) return true;
    // Linux before 5.15 does not know it.
    if (bytes < 0 && (errno == ENOSYS || errno == EINVAL || errno == EPERM)) return false;
    if (bytes <= 0) {
      ++next;
      continue;
    }
    while (next < list.size() && bytes >= static_cast<long>(list[next].iov_len)) {
      bytes -= static_cast<long>(list[next++].iov_len);
    }
    if (bytes > 0) ++next;
  }
  return true;
}

bool sleep_in_kernel(std::chrono::milliseconds time) {
  std::this_thread::sleep_for(time);
  return true;
}

}  // namespace

void read_ahead(const std::string& device, const KernelPaths& paths, const ReadAheadCalls& calls) {
  ReadAhead(device, paths, calls).run();
}

ReadAheadCalls kernel_read_ahead_calls() {
  return {.ask = ask_kernel, .sleep = sleep_in_kernel};
}

}  // namespace vramswap
