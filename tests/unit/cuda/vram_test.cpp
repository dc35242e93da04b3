#include "cuda/vram.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <utility>

#include "tests/unit/cuda/fake_cuda_test.hpp"
#include "tests/unit/cuda/processes.hpp"

namespace vramswap::cuda {
namespace {

using test::Child;
using test::in_child;
using test::kMebibyte;

/// The fake's device memory is host memory.
std::span<unsigned char> content(const VramMemory& memory) {
  return {reinterpret_cast<unsigned char*>(memory.device_pointer()), memory.size_bytes()};
}

bool all_bytes_are(const VramMemory& memory, unsigned char value) {
  return std::ranges::all_of(content(memory), [&](unsigned char byte) { return byte == value; });
}

class VramTest : public test::FakeCudaTest {
 protected:
  /// Runs `use` in another process that has imported `fd` as 4 MiB.
  static void import_elsewhere(int fd, const std::function<void(VramMemory&)>& use) {
    in_child([&] {
      auto context = open();
      ASSERT_TRUE(context);
      auto memory = VramMemory::import(*context, fd, 4 * kMebibyte);
      ASSERT_TRUE(memory) << memory.error().message();
      use(*memory);
    });
  }
};

TEST_F(VramTest, CreatesWhatWasAskedFor) {
  auto context = open();
  ASSERT_TRUE(context);
  EXPECT_EQ(VramMemory::granularity(*context).value(), 2 * kMebibyte);
  auto memory = VramMemory::create(*context, 6 * kMebibyte);
  ASSERT_TRUE(memory) << memory.error().message();
  EXPECT_EQ(memory->size_bytes(), 6 * kMebibyte);
  EXPECT_NE(memory->device_pointer(), 0u);
  EXPECT_EQ(free_mebibytes(*context), 58u);
}

TEST_F(VramTest, RefusesOtherSizes) {
  auto context = open();
  ASSERT_TRUE(context);
  auto memory = VramMemory::create(*context, 3 * kMebibyte);
  ASSERT_FALSE(memory);
  EXPECT_EQ(memory.error().message(),
            "GPU 0000:0a:00.0: size 3145728 is not a positive multiple of 2097152 bytes");
  EXPECT_FALSE(VramMemory::create(*context, 0));
  EXPECT_FALSE(VramMemory::import(*context, 0, 0));
}

TEST_F(VramTest, SaysThatTheDeviceIsFull) {
  auto context = open();
  ASSERT_TRUE(context);
  auto memory = VramMemory::create(*context, 66 * kMebibyte);
  ASSERT_FALSE(memory);
  EXPECT_EQ(memory.error().code, api::CUDA_ERROR_OUT_OF_MEMORY);
  EXPECT_EQ(memory.error().message(),
            "GPU 0000:0a:00.0: cuMemCreate 69206016 bytes: CUDA_ERROR_OUT_OF_MEMORY (2)");
  EXPECT_TRUE(VramMemory::create(*context, 64 * kMebibyte));
}

TEST_F(VramTest, IsFreedWithTheObject) {
  auto context = open();
  ASSERT_TRUE(context);
  {
    auto first = VramMemory::create(*context, 16 * kMebibyte);
    auto second = VramMemory::create(*context, 16 * kMebibyte);
    ASSERT_TRUE(first && second);
    VramMemory moved = std::move(*first);
    EXPECT_EQ(free_mebibytes(*context), 32u);
    moved = std::move(*second);
  }
  EXPECT_EQ(free_mebibytes(*context), 64u);
}

TEST_F(VramTest, AFailureLeavesNothingBehind) {
  for (const char* call : {"cuMemAddressReserve", "cuMemMap", "cuMemSetAccess"}) {
    setenv("FAKE_CUDA_FAIL", (std::string(call) + "=999").c_str(), 1);
    auto context = open();
    ASSERT_TRUE(context);
    // More often than the fake has room for allocations or for ranges of addresses.
    for (int attempt = 0; attempt < 300; ++attempt) {
      auto memory = VramMemory::create(*context, 4 * kMebibyte);
      ASSERT_FALSE(memory) << call;
      ASSERT_EQ(memory.error().operation, std::string(call) + " 4194304 bytes");
    }
    EXPECT_EQ(free_mebibytes(*context), 64u) << call;
  }
}

TEST_F(VramTest, AFailureToImportKeepsTheMemory) {
  auto context = open();
  ASSERT_TRUE(context);
  auto memory = VramMemory::create(*context, 4 * kMebibyte);
  ASSERT_TRUE(memory);
  int fd = memory->export_fd().value();
  EXPECT_FALSE(VramMemory::import(*context, fd, 8 * kMebibyte));  // more than there is
  EXPECT_TRUE(VramMemory::import(*context, fd, 4 * kMebibyte));
  EXPECT_EQ(free_mebibytes(*context), 60u);
  close(fd);
}

TEST_F(VramTest, ExportsAnFdThatDoesNotLeakIntoOtherPrograms) {
  auto context = open();
  ASSERT_TRUE(context);
  auto memory = VramMemory::create(*context, 4 * kMebibyte);
  ASSERT_TRUE(memory);
  int fd = memory->export_fd().value();
  EXPECT_EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
  close(fd);
}

TEST_F(VramTest, AnFdHoldsTheMemoryAlone) {
  auto context = open();
  ASSERT_TRUE(context);
  int fd = -1;
  {
    auto memory = VramMemory::create(*context, 4 * kMebibyte);
    ASSERT_TRUE(memory);
    fd = memory->export_fd().value();
  }
  EXPECT_EQ(free_mebibytes(*context), 60u);
  close(fd);
  EXPECT_EQ(free_mebibytes(*context), 64u);
}

TEST_F(VramTest, ContentOutlivesTheProcessThatWroteIt) {
  test::SocketPair sockets;
  Child writer([&] {
    auto context = open();
    ASSERT_TRUE(context);
    auto memory = VramMemory::create(*context, 4 * kMebibyte);
    ASSERT_TRUE(memory);
    std::ranges::fill(content(*memory), 0x5a);
    test::send_fd(sockets.child(), memory->export_fd().value());
    pause();
  });
  int fd = test::receive_fd(sockets.parent());
  ASSERT_GE(fd, 0);
  EXPECT_TRUE(WIFSIGNALED(writer.kill()));
  for (int reader = 0; reader < 2; ++reader) {
    import_elsewhere(fd, [](VramMemory& memory) { EXPECT_TRUE(all_bytes_are(memory, 0x5a)); });
  }
  close(fd);
  auto context = open();
  ASSERT_TRUE(context);
  EXPECT_EQ(free_mebibytes(*context), 64u);
}

TEST_F(VramTest, TwoProcessesShareTheMemory) {
  auto context = open();
  ASSERT_TRUE(context);
  auto memory = VramMemory::create(*context, 4 * kMebibyte);
  ASSERT_TRUE(memory);
  int fd = memory->export_fd().value();
  import_elsewhere(fd, [](VramMemory& other) { std::ranges::fill(content(other), 0x77); });
  EXPECT_TRUE(all_bytes_are(*memory, 0x77));
  close(fd);
}

TEST_F(VramTest, ImportsNothingButVram) {
  auto context = open();
  ASSERT_TRUE(context);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  auto memory = VramMemory::import(*context, ends[0], 4 * kMebibyte);
  ASSERT_FALSE(memory);
  EXPECT_EQ(memory.error().code, api::CUDA_ERROR_UNKNOWN);
  EXPECT_FALSE(VramMemory::import(*context, -1, 4 * kMebibyte));
  close(ends[0]);
  close(ends[1]);
}

TEST_F(VramTest, AResetLosesTheMemory) {
  auto context = open();
  ASSERT_TRUE(context);
  auto memory = VramMemory::create(*context, 4 * kMebibyte);
  ASSERT_TRUE(memory);
  int fd = memory->export_fd().value();
  std::filesystem::remove(device_file());
  auto imported = VramMemory::import(*context, fd, 4 * kMebibyte);
  ASSERT_FALSE(imported);
  EXPECT_EQ(imported.error().code, api::CUDA_ERROR_UNKNOWN);
  EXPECT_EQ(free_mebibytes(*context), 64u);
  EXPECT_TRUE(VramMemory::create(*context, 64 * kMebibyte));
  close(fd);
}

TEST_F(VramTest, ScrubZeroesAllOfItAndNothingElse) {
  auto context = open();
  ASSERT_TRUE(context);
  auto before = VramMemory::create(*context, 2 * kMebibyte);
  auto memory = VramMemory::create(*context, 4 * kMebibyte);
  auto after = VramMemory::create(*context, 2 * kMebibyte);
  ASSERT_TRUE(before && memory && after);
  for (auto* each : {&*before, &*memory, &*after}) {
    std::ranges::fill(content(*each), 0xee);
  }
  ASSERT_TRUE(memory->scrub());
  EXPECT_TRUE(all_bytes_are(*memory, 0));
  EXPECT_TRUE(all_bytes_are(*before, 0xee));
  EXPECT_TRUE(all_bytes_are(*after, 0xee));
}

TEST_F(VramTest, NewMemoryHoldsOldBytesUntilScrubbed) {
  auto context = open();
  ASSERT_TRUE(context);
  {
    auto memory = VramMemory::create(*context, 4 * kMebibyte);
    ASSERT_TRUE(memory);
    std::ranges::fill(content(*memory), 0xee);
  }
  auto memory = VramMemory::create(*context, 4 * kMebibyte);
  ASSERT_TRUE(memory);
  EXPECT_TRUE(all_bytes_are(*memory, 0xee));
}

TEST_F(VramTest, SaysThatScrubbingFailed) {
  setenv("FAKE_CUDA_FAIL", "cuMemsetD8_v2=719", 1);
  auto context = open();
  ASSERT_TRUE(context);
  auto memory = VramMemory::create(*context, 4 * kMebibyte);
  ASSERT_TRUE(memory);
  auto scrubbed = memory->scrub();
  ASSERT_FALSE(scrubbed);
  EXPECT_EQ(scrubbed.error().message(),
            "GPU 0000:0a:00.0: scrub (cuMemsetD8) 4194304 bytes: CUDA_ERROR_LAUNCH_FAILED (719)");
}

TEST_F(VramTest, DevicesAreSeparate) {
  setenv("FAKE_CUDA_DEVICES", "2", 1);
  auto first = open("0");
  ASSERT_TRUE(first);
  auto memory = VramMemory::create(*first, 64 * kMebibyte);
  ASSERT_TRUE(memory);
  EXPECT_EQ(free_mebibytes(*first), 0u);
  auto second = open("1");
  ASSERT_TRUE(second);
  EXPECT_EQ(free_mebibytes(*second), 64u);
}

}  // namespace
}  // namespace vramswap::cuda
