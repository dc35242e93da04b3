#include "daemon/system/proc.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

namespace vramswap {
namespace {

using testing::HasSubstr;

// A fake tree, gone with the test.
class Proc : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "/vramswap-proc-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    root_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  std::string write(const std::string& name, const std::string& text) {
    const auto path = root_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << text;
    return path;
  }

  std::filesystem::path root_;
};

TEST_F(Proc, ReadsWholeFilesOrNamesThem) {
  const std::string long_text(10'000, 'x');
  EXPECT_EQ(read_file(write("long", long_text)).value(), long_text);
  EXPECT_EQ(read_file(write("empty", "")).value(), "");
  const auto missing = read_file(root_ / "missing");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ENOENT);
  EXPECT_THAT(missing.error().message, HasSubstr("/missing: open: ENOENT"));
}

TEST_F(Proc, MemoryInfo) {
  const auto path = write("meminfo",
                          "MemTotal:        8042432 kB\n"
                          "MemFree:          123456 kB\n"
                          "MemAvailable:    4000000 kB\n");
  const auto memory = read_memory_info(path);
  ASSERT_TRUE(memory) << memory.error().message;
  EXPECT_EQ(memory->total_bytes, 8042432ULL * 1024);
  EXPECT_EQ(memory->available_bytes, 4000000ULL * 1024);
}

TEST_F(Proc, MemoryInfoNamesTheMissingLine) {
  for (const char* text :
       {"", "MemTotal: 1 kB\n", "MemTotal: 1 kB\nMemAvailable: many\n",
        "MemTotal: 1 kB\nNotMemAvailable: 5 kB\n", "MemTotal: 1 kB\nMemAvailable"}) {
    const auto memory = read_memory_info(write("meminfo", text));
    ASSERT_FALSE(memory) << text;
    EXPECT_THAT(memory.error().message, HasSubstr("no Mem"));
  }
}

TEST_F(Proc, MemoryCommitmentWhereTheKernelHoldsToIt) {
  const auto info = write("meminfo",
                          "MemTotal:        8042432 kB\n"
                          "CommitLimit:     5000000 kB\n"
                          "Committed_AS:    4000000 kB\n");
  for (const char* mode : {"0\n", "1\n"}) {
    const auto none = read_memory_commitment(write("mode", mode), info);
    ASSERT_TRUE(none) << none.error().message;
    EXPECT_FALSE(*none);
  }
  const auto mode = write("mode", "2\n");
  const auto commitment = read_memory_commitment(mode, info);
  ASSERT_TRUE(commitment && *commitment);
  EXPECT_EQ((*commitment)->committed_bytes, 4000000ULL * 1024);
  EXPECT_EQ((*commitment)->limit_bytes, 5000000ULL * 1024);
  EXPECT_THAT(read_memory_commitment(mode, write("meminfo", "")).error().message,
              HasSubstr("no Committed_AS"));
  EXPECT_EQ(read_memory_commitment(root_ / "missing", info).error().code, ENOENT);
}

TEST_F(Proc, FindsTheNumberBehindAName) {
  const std::string text = "Name:\tanon 5\nanon_thp 1\nanon x\nanon\t 4096 kB\nanon 7\nlast 9";
  EXPECT_EQ(find_number(text, "anon"), 4096U);
  EXPECT_EQ(find_number(text, "last"), 9U);
  for (const char* name : {"thp", "an", "Name:", "5", ""}) {
    EXPECT_FALSE(find_number(text, name)) << name;
  }
  EXPECT_FALSE(find_number("", "anon"));
}

TEST_F(Proc, SwapAreas) {
  const auto path =
      write("swaps",
            "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
            "/dev/nbd0                               partition\t1048572\t\t512\t\t1500\n"
            "/swap\\040file\\134\\011x                    file\t\t4\t\t0\t\t-2\n"
            "/old\\040(deleted)                        file\t\t16777212\t\t16777212\t\t32767\n");
  const auto areas = read_swap_areas(path);
  ASSERT_TRUE(areas) << areas.error().message;
  ASSERT_EQ(areas->size(), 3U);
  EXPECT_EQ((*areas)[0].path, "/dev/nbd0");
  EXPECT_EQ((*areas)[0].type, "partition");
  EXPECT_EQ((*areas)[0].size_bytes, 1048572ULL * 1024);
  EXPECT_EQ((*areas)[0].used_bytes, 512ULL * 1024);
  EXPECT_EQ((*areas)[0].priority, 1500);
  EXPECT_EQ((*areas)[1].path, "/swap file\\\tx");
  EXPECT_EQ((*areas)[1].type, "file");
  EXPECT_EQ((*areas)[1].priority, -2);
  EXPECT_EQ((*areas)[2].path, "/old (deleted)");
  EXPECT_EQ((*areas)[2].used_bytes, 16777212ULL * 1024);
}

TEST_F(Proc, NoSwapAreas) {
  EXPECT_TRUE(read_swap_areas(write("swaps", "")).value().empty());
  EXPECT_TRUE(
      read_swap_areas(write("swaps", "Filename Type Size Used Priority\n")).value().empty());
}

TEST_F(Proc, ASwapAreaThatCannotBeReadIsAnError) {
  const auto areas = read_swap_areas(write("swaps", "Filename\n/dev/nbd0 partition 12\n"));
  ASSERT_FALSE(areas);
  EXPECT_THAT(areas.error().message, HasSubstr("/dev/nbd0 partition 12"));
}

std::string stat_line(const std::string& name) {
  return "4711 (" + name +
         ") S 1 4711 4711 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 100 200 300 400 500 600 700 800 "
         "900 0 0 0 0 0 0 0 17 1 99 2 0 0 0 0 0 0 0 0 0 0 0\n";
}

TEST_F(Proc, ThreadStat) {
  for (const char* name : {"worker", "a b", ")", "((", "x) R 1 2 3 (y", ""}) {
    const auto stat = parse_thread_stat(stat_line(name));
    ASSERT_TRUE(stat) << name;
    EXPECT_EQ(stat->flags, 4194304U) << name;
    EXPECT_EQ(stat->realtime_priority, 99) << name;
    EXPECT_EQ(stat->scheduling_policy, 2) << name;
  }
}

TEST_F(Proc, ThreadStatThatIsNone) {
  for (const char* line : {"", "4711", "4711 (worker", "4711 (worker)", "4711 (worker) S 1 2 3"}) {
    EXPECT_FALSE(parse_thread_stat(line)) << line;
  }
}

TEST_F(Proc, ThreadStatsOfAProcess) {
  write("task/4711/stat", stat_line("first"));
  write("task/4712/stat", stat_line("second"));
  std::filesystem::create_directories(root_ / "task/4713");  // ended meanwhile
  const auto stats = read_thread_stats(root_ / "task");
  ASSERT_TRUE(stats) << stats.error().message;
  EXPECT_EQ(stats->size(), 2U);

  EXPECT_EQ(read_thread_stats(root_ / "missing").error().code, ENOENT);
  write("task/4714/stat", "garbage");
  EXPECT_FALSE(read_thread_stats(root_ / "task"));
}

// A process has at least one thread: none found would let every check of all threads pass.
TEST_F(Proc, AProcessWithoutThreadsIsAnError) {
  std::filesystem::create_directories(root_ / "task");
  EXPECT_FALSE(read_thread_stats(root_ / "task"));
}

TEST_F(Proc, LockedBytes) {
  EXPECT_EQ(
      read_locked_bytes(write("status", "Name:\tx\nVmPin:\t 1 kB\nVmLck:\t     2048 kB\n")).value(),
      2048U * 1024);
  EXPECT_FALSE(read_locked_bytes(write("status", "Name:\tVmLck:\n")));
}

TEST_F(Proc, ReadsTheRealOne) {
  EXPECT_TRUE(read_memory_info());
  EXPECT_TRUE(read_memory_commitment());
  EXPECT_TRUE(read_swap_areas());
  EXPECT_TRUE(read_locked_bytes());
  EXPECT_GE(read_thread_stats("/proc/self/task").value().size(), 1U);
}

}  // namespace
}  // namespace vramswap
