#include "daemon/supervisor/machine/locked_memory_reserve.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "daemon/system/proc.hpp"
#include "tests/support/mebibyte.hpp"
#include "tests/unit/supervisor/run.hpp"

namespace vramswap {
namespace {

class LockedMemoryReserveTest : public testing::Test {
 protected:
  // The bytes that the kernel has allocated for the files of reserves.
  static std::uint64_t allocated_bytes() {
    std::uint64_t bytes = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code closed;  // the iterator's own
      const auto target = std::filesystem::read_symlink(entry.path(), closed).string();
      struct stat about {};
      if (target.find("memory-reserve") == target.npos) continue;
      if (stat(entry.path().c_str(), &about) == 0) bytes += about.st_blocks * 512;
    }
    return bytes;
  }

  int fill() {
    int steps = 0;
    while (!reserve_.is_full()) {
      EXPECT_TRUE(run(io_, reserve_.fill_step()));
      ++steps;
    }
    return steps;
  }

  asio::io_context io_{1};
  LockedMemoryReserve reserve_{io_, HostMemory::swappable};
};

TEST_F(LockedMemoryReserveTest, HoldsMemoryUntilItIsReleased) {
  reserve_.set_size(16 * kMiB + 4096);
  EXPECT_FALSE(reserve_.is_full());
  EXPECT_EQ(fill(), 17);
  EXPECT_EQ(allocated_bytes(), 17 * kMiB);
  reserve_.release();
  EXPECT_FALSE(reserve_.is_full());
  EXPECT_EQ(allocated_bytes(), 0U);
  EXPECT_EQ(fill(), 17);
}

TEST_F(LockedMemoryReserveTest, IsReleasedInPartsAndFilledUpAgain) {
  reserve_.set_size(64 * kMiB);
  fill();
  reserve_.release_step();
  EXPECT_FALSE(reserve_.is_full());
  EXPECT_EQ(allocated_bytes(), 62 * kMiB);
  EXPECT_EQ(fill(), 2);
  EXPECT_EQ(allocated_bytes(), 64 * kMiB);
}

// Nothing of it is in the address space: no child shares it, and no lock of the address space is
// held while the kernel looks for memory.
TEST_F(LockedMemoryReserveTest, IsNotMapped) {
  reserve_.set_size(4 * kMiB);
  fill();
  EXPECT_EQ(read_file("/proc/self/maps").value().find("memory-reserve"), std::string::npos);
}

TEST_F(LockedMemoryReserveTest, NoChildInheritsIt) {
  reserve_.set_size(4 * kMiB);
  fill();
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code closed;
    const auto target = std::filesystem::read_symlink(entry.path(), closed).string();
    if (target.find("memory-reserve") == target.npos) continue;
    EXPECT_EQ(fcntl(std::stoi(entry.path().filename()), F_GETFD), FD_CLOEXEC);
  }
}

TEST_F(LockedMemoryReserveTest, ReleasingTwiceIsHarmless) {
  reserve_.set_size(kMiB);
  fill();
  reserve_.release();
  reserve_.release();
  reserve_.release_step();
}

TEST_F(LockedMemoryReserveTest, OfNothingIsFull) {
  EXPECT_TRUE(reserve_.is_full());
  EXPECT_TRUE(run(io_, reserve_.fill_step()));
  EXPECT_EQ(allocated_bytes(), 0U);
}

TEST_F(LockedMemoryReserveTest, MemoryFilledDuringTheReleaseIsNotKept) {
  reserve_.set_size(2 * kMiB);
  std::optional<Result<void>> filled;
  asio::co_spawn(
      io_, [&]() -> awaitable<void> { filled = co_await reserve_.fill_step(); }, asio::detached);
  io_.poll();  // the thread has begun
  reserve_.release();
  reserve_.set_size(0);
  io_.restart();
  io_.run();
  ASSERT_TRUE(filled && *filled);
  EXPECT_EQ(allocated_bytes(), 0U);
}

TEST_F(LockedMemoryReserveTest, StepsOfTwoCallersFollowEachOther) {
  reserve_.set_size(8 * kMiB);
  unsigned callers = 0;
  for (int i = 0; i < 2; ++i) {
    asio::co_spawn(
        io_,
        [&]() -> awaitable<void> {
          while (!reserve_.is_full()) EXPECT_TRUE(co_await reserve_.fill_step());
          ++callers;
        },
        asio::detached);
  }
  io_.run();
  EXPECT_EQ(callers, 2U);
  EXPECT_EQ(allocated_bytes(), 8 * kMiB);
}

TEST(LockedMemoryReserve, MayGoWhileItIsBeingFilled) {
  asio::io_context io;
  std::optional<Result<void>> filled;
  {
    LockedMemoryReserve reserve(io, HostMemory::swappable);
    reserve.set_size(4 * kMiB);
    asio::co_spawn(
        io, [&]() -> awaitable<void> { filled = co_await reserve.fill_step(); }, asio::detached);
    io.poll();
  }
  io.restart();
  io.run();
  EXPECT_TRUE(filled);
}

// The same with the reactor gone first.
TEST(LockedMemoryReserve, MayGoWithItsReactorWhileItIsBeingFilled) {
  auto io = std::make_unique<asio::io_context>();
  auto reserve = std::make_unique<LockedMemoryReserve>(*io, HostMemory::swappable);
  reserve->set_size(4 * kMiB);
  asio::co_spawn(
      *io, [&]() -> awaitable<void> { (void)co_await reserve->fill_step(); }, asio::detached);
  io->poll();
  reserve.reset();
  io.reset();
}

}  // namespace
}  // namespace vramswap
