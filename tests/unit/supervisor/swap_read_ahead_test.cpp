#include "daemon/supervisor/machine/swap_read_ahead.hpp"

#include <gmock/gmock.h>

#include <utility>

#include "daemon/base/page_size.hpp"
#include "tests/support/fake_processes.hpp"

namespace vramswap {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

// Pages 1 to 4095.
constexpr const char* kMaps = "1000-1000000 rw-p 00000000 00:00 0\n";

class SwapReadAhead : public testing::Test {
 protected:
  SwapReadAhead() {
    paths_.processes = tree().path();
    paths_.swaps = tree().path("swaps");
    paths_.memory_info = tree().path("meminfo");
    paths_.control_groups = tree().path("cgroup");
    paths_.block_directory = tree().path("block");
    areas("/nonexistent/nbd3 partition 262144 100000 5\n");
    set_available(1 << 20);
    tree().write("block/nbd3/inflight", "       0        0\n");
  }
  const FakeTree& tree() const { return processes_.tree; }
  void areas(const std::string& lines) const {
    tree().write("swaps", "Filename Type Size Used Priority\n" + lines);
  }
  void set_available(std::uint64_t kib) const {
    tree().write("meminfo", "MemTotal: 2097152 kB\nMemAvailable: " + std::to_string(kib) + " kB\n");
  }
  void add(pid_t pid, std::uint64_t count, unsigned type = 0) const {
    std::map<std::uint64_t, std::uint64_t> entries;
    for (std::uint64_t page = 1; page <= count; ++page) {
      entries[page] = FakeProcesses::swapped(type, page);
    }
    processes_.add(pid, kMaps, entries, count * 4);
  }
  void join(pid_t pid, const std::string& group, const std::string& max) const {
    tree().write(std::to_string(pid) + "/cgroup", "0::" + group + "\n");
    tree().write("cgroup" + group + "/cgroup.procs", "");
    tree().write("cgroup" + group + "/memory.max", max + "\n");
    tree().write("cgroup" + group + "/memory.current", "16777216\n");
  }
  // So many pages were asked for at a time, of which process.
  void run() {
    read_ahead("/dev/nbd3", paths_,
               {.ask =
                    [this](pid_t pid, const std::vector<AddressRange>& ranges) {
                      std::uint64_t pages = 0;
                      for (const auto& range : ranges) {
                        EXPECT_LE(range.end - range.begin, 8 * kPageBytes);
                        pages += (range.end - range.begin) / kPageBytes;
                      }
                      asked_.emplace_back(pid, pages);
                      return asked_.size() < max_asks_;
                    },
                .sleep = [this](std::chrono::milliseconds) { return on_sleep_(); }});
  }

  using Asks = std::pair<pid_t, std::uint64_t>;
  const FakeProcesses processes_;
  KernelPaths paths_;
  std::vector<Asks> asked_;
  std::size_t max_asks_ = 100;
  std::function<bool()> on_sleep_ = [] { return false; };
};

TEST_F(SwapReadAhead, TheProcessWithMostInSwapComesFirst) {
  add(10, 100);
  add(11, 1200);
  run();
  EXPECT_THAT(asked_, ElementsAre(Asks(11, 512), Asks(11, 512), Asks(11, 176), Asks(10, 100)));
}

TEST_F(SwapReadAhead, WhereTheKernelRefusesItEnds) {
  add(10, 1200);
  max_asks_ = 1;
  run();
  EXPECT_THAT(asked_, SizeIs(1));
}

TEST_F(SwapReadAhead, ProcessesWithLittleInSwapAreLeftToSwapoff) {
  add(10, 60);
  run();
  EXPECT_THAT(asked_, IsEmpty());
}

TEST_F(SwapReadAhead, PagesOfOtherAreasStayThere) {
  areas(
      "/dev/vda partition 262144 100000 -2\n"
      "/nonexistent/nbd3 partition 262144 100000 5\n");
  add(10, 1200, 0);
  add(11, 100, 1);
  run();
  EXPECT_THAT(asked_, ElementsAre(Asks(11, 100)));
}

TEST_F(SwapReadAhead, WhichPagesAreItsOwnIsNotGuessed) {
  areas(
      "/dev/vda partition 262144 100000 -2\n"
      "/nonexistent/nbd3 partition 262144 100000 5\n");
  add(10, 1200, 1);  // of nbd3, or of vda if type 0 is free
  run();
  EXPECT_THAT(asked_, IsEmpty());
}

TEST_F(SwapReadAhead, WithoutTheAreaThereIsNothingToDo) {
  add(10, 1200);
  areas("");
  run();
  EXPECT_THAT(asked_, IsEmpty());
}

// 64 MiB stay free.
TEST_F(SwapReadAhead, NoMoreIsAskedForThanThereIsRoomFor) {
  add(10, 1200);
  set_available((64 << 10) + 400);
  max_asks_ = 1;
  run();
  EXPECT_THAT(asked_, ElementsAre(Asks(10, 100)));
}

TEST_F(SwapReadAhead, WithoutRoomItWaits) {
  add(10, 300);
  set_available((64 << 10) + 100);
  unsigned waits = 0;
  on_sleep_ = [&] {
    if (++waits == 3) set_available(1 << 20);
    return true;
  };
  run();
  EXPECT_EQ(waits, 3U);
  EXPECT_THAT(asked_, ElementsAre(Asks(10, 300)));
}

TEST_F(SwapReadAhead, TheNextSliceWaitsForTheDevice) {
  add(10, 300);
  tree().write("block/nbd3/inflight", "      65        0\n");
  bool has_waited = false;
  on_sleep_ = [&] {
    has_waited = true;
    tree().write("block/nbd3/inflight", "      64        0\n");
    return true;
  };
  run();
  EXPECT_TRUE(has_waited);
  EXPECT_THAT(asked_, SizeIs(1));
}

TEST_F(SwapReadAhead, AProcessWhoseGroupIsFullIsLeftToSwapoff) {
  add(10, 1200);
  add(11, 300);
  join(10, "/box", "16777216");
  join(11, "/wide", "max");
  run();
  EXPECT_THAT(asked_, ElementsAre(Asks(11, 300)));
}

}  // namespace
}  // namespace vramswap
