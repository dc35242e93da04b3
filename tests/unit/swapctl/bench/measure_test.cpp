#include "swapctl/bench/measure.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <thread>

#include "tests/support/temp_directory.hpp"

namespace vramswap::swapctl {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using testing::Each;
using testing::HasSubstr;
using testing::SizeIs;

constexpr std::uint64_t kFileBytes = (3 << 20) + 5 * kPageBytes;

TEST(Summarize, OneIsAllThree) {
  const std::chrono::nanoseconds times[] = {microseconds(70)};
  EXPECT_EQ(summarize(times), (Latency{70, 70, 70}));
}

TEST(Summarize, LeastMeanAndMost) {
  const std::chrono::nanoseconds times[] = {microseconds(100), std::chrono::nanoseconds(1500),
                                            milliseconds(2)};
  const auto latency = summarize(times);
  EXPECT_DOUBLE_EQ(latency.min, 1.5);
  EXPECT_NEAR(latency.average, 700.5, 1e-9);
  EXPECT_DOUBLE_EQ(latency.max, 2000);
}

struct MeasureTest : testing::Test {
  void SetUp() override {
    directory.write("file", std::string(kFileBytes, 'x'));
    auto opened = DirectFile::open_for_reading(directory / "file", kFileBytes + 100);
    if (!opened && opened.error().code == EINVAL) GTEST_SKIP() << "no direct I/O in /tmp";
    ASSERT_TRUE(opened) << opened.error().message;
    file.emplace(*std::move(opened));
  }
  Observer observer(int waits_until_interrupted = 1 << 30) {
    return {.wait = [this, waits_until_interrupted](milliseconds duration) -> Result<void> {
              waits.push_back(duration);
              if (std::ssize(waits) > waits_until_interrupted) {
                return std::unexpected(Error{"interrupted", EINTR});
              }
              std::this_thread::sleep_for(duration);
              return {};
            },
            .progress =
                [this](std::string_view, double share) {
                  EXPECT_GE(share, 0);
                  EXPECT_LE(share, 1);
                  ++reports;
                }};
  }

  TempDirectory directory;
  std::optional<DirectFile> file;
  std::vector<milliseconds> waits;
  int reports = 0;
  const TestPlan plan{.duration = milliseconds(50), .single_reads = 3, .pause = milliseconds(1)};
};

TEST_F(MeasureTest, TheFileIsOpenForReadingOnlyAndCutToPages) {
  EXPECT_EQ(fcntl(file->fd(), F_GETFL) & O_ACCMODE, O_RDONLY);
  EXPECT_NE(fcntl(file->fd(), F_GETFL) & O_DIRECT, 0);
  EXPECT_EQ(file->size_bytes(), kFileBytes);
}

TEST_F(MeasureTest, WritingWhereOnlyReadingIsAllowedFails) {
  const auto sequential = measure_sequential(*file, Direction::write, plan, observer());
  ASSERT_FALSE(sequential);
  EXPECT_THAT(sequential.error().message, HasSubstr("file: write at 0: EBADF"));
  EXPECT_FALSE(measure_random(*file, Direction::write, plan, observer()));
}

TEST_F(MeasureTest, EachTestHasAResult) {
  const auto sequential = measure_sequential(*file, Direction::read, plan, observer());
  ASSERT_TRUE(sequential) << sequential.error().message;
  EXPECT_GT(*sequential, 0);
  EXPECT_GT(reports, 0);
  reports = 0;
  const auto random = measure_random(*file, Direction::read, plan, observer());
  ASSERT_TRUE(random) << random.error().message;
  EXPECT_GT(*random, 0);
  EXPECT_GT(reports, 0);
}

TEST_F(MeasureTest, SingleReadsComeAfterAPauseEach) {
  const auto latency = measure_single_reads(*file, plan, observer());
  ASSERT_TRUE(latency) << latency.error().message;
  EXPECT_GT(latency->min, 0);
  EXPECT_LE(latency->min, latency->average);
  EXPECT_LE(latency->average, latency->max);
  EXPECT_THAT(waits, SizeIs(3));
  EXPECT_THAT(waits, Each(milliseconds(1)));
}

TEST_F(MeasureTest, AnInterruptionEndsEachTest) {
  const TestPlan long_plan{.duration = std::chrono::hours(1), .single_reads = 1000};
  const auto sequential = measure_sequential(*file, Direction::read, long_plan, observer(0));
  ASSERT_FALSE(sequential);
  EXPECT_EQ(sequential.error().code, EINTR);
  const auto random = measure_random(*file, Direction::read, long_plan, observer(0));
  ASSERT_FALSE(random);
  EXPECT_EQ(random.error().code, EINTR);
  const auto single = measure_single_reads(*file, long_plan, observer(0));
  ASSERT_FALSE(single);
  EXPECT_EQ(single.error().code, EINTR);
}

TEST_F(MeasureTest, AFileShorterThanItsSizeIsAnError) {
  const auto longer = DirectFile::open_for_reading(directory / "file", 2 * kFileBytes);
  ASSERT_TRUE(longer);
  const auto sequential = measure_sequential(*longer, Direction::read, plan, observer());
  ASSERT_FALSE(sequential);
  EXPECT_THAT(sequential.error().message, HasSubstr("bytes instead of"));
}

struct ScratchFileTest : testing::Test {
  std::string error_of(const std::string& path) const {
    const auto file =
        DirectFile::open_scratch(path, 1 << 20, directory / "swaps", directory / "block");
    return file ? "" : file.error().message;
  }

  TempDirectory directory;
};

TEST_F(ScratchFileTest, OnlyADeviceOfAScratchDaemonIsWrittenTo) {
  directory.write("swaps", "Filename Type Size Used Priority\n");
  directory.write("block/nbd0/backend", "vramswap-00c0ffee-0\n");
  EXPECT_THAT(error_of(directory / "nbd0"), HasSubstr("not a scratch segment"));
  EXPECT_THAT(error_of(directory / "sda"), HasSubstr("not a scratch segment"));
  directory.write("block/nbd0/backend", "vramscratch-00c0ffee-0\n");
  EXPECT_THAT(error_of(directory / "nbd0"), HasSubstr("open: ENOENT"));
}

TEST_F(ScratchFileTest, SwapIsNot) {
  const auto device = directory.write("nbd0", std::string(1 << 20, 'x'));
  directory.write("block/nbd0/backend", "vramscratch-00c0ffee-0\n");
  directory.write("swaps",
                  "Filename Type Size Used Priority\n" + device.string() + " partition 1024 0 0\n");
  EXPECT_THAT(error_of(device), HasSubstr("is a swap area"));
}

TEST_F(ScratchFileTest, NorIsAnythingWhereSwapCannotBeListed) {
  const auto device = directory.write("nbd0", std::string(1 << 20, 'x'));
  directory.write("block/nbd0/backend", "vramscratch-00c0ffee-0\n");
  EXPECT_THAT(error_of(device), HasSubstr("swaps: open: ENOENT"));
}

TEST_F(ScratchFileTest, WritingCoversAllOfIt) {
  const auto device = directory.write("nbd0", std::string(kFileBytes, '\0'));
  directory.write("block/nbd0/backend", "vramscratch-00c0ffee-0\n");
  directory.write("swaps", "Filename Type Size Used Priority\n");
  const auto file =
      DirectFile::open_scratch(device, kFileBytes, directory / "swaps", directory / "block");
  if (!file && file.error().code == EINVAL) GTEST_SKIP() << "no direct I/O in /tmp";
  ASSERT_TRUE(file) << file.error().message;
  const Observer observer{.wait = [](auto) { return Result<void>{}; },
                          .progress = [](auto, auto) {}};
  ASSERT_TRUE(measure_sequential(*file, Direction::write, {.duration = milliseconds(0)}, observer));
  const PageBuffer page(kPageBytes);
  for (std::uint64_t offset = 0; offset < kFileBytes; offset += kPageBytes) {
    ASSERT_TRUE(file->read(page.bytes(), offset));
    EXPECT_FALSE(std::ranges::all_of(page.bytes(), [](auto byte) { return byte == std::byte{0}; }))
        << offset;
  }
}

}  // namespace
}  // namespace vramswap::swapctl
