#include "cuda/stream.hpp"

#include <gtest/gtest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "cuda/host_registration.hpp"
#include "cuda/vram.hpp"
#include "tests/unit/cuda/allocation_count.hpp"
#include "tests/unit/cuda/fake_cuda_test.hpp"
#include "tests/unit/cuda/processes.hpp"

namespace vramswap::cuda {
namespace {

using test::Child;
using test::in_child;
using test::mebibyte;

constexpr std::size_t page = 4096;

/// A device with a piece of memory and a stream on it.
struct Engine {
  Context context;
  VramMemory memory;
  Stream stream;

  Result<void> write(std::uint64_t offset, const std::vector<std::byte>& bytes) {
    auto queued =
        stream.copy_from_host(memory.device_pointer() + offset, bytes.data(), bytes.size());
    return queued ? stream.synchronize() : queued;
  }
  Result<void> read(std::uint64_t offset, std::vector<std::byte>& bytes) {
    auto queued = stream.copy_to_host(bytes.data(), memory.device_pointer() + offset, bytes.size());
    return queued ? stream.synchronize() : queued;
  }
};

class StreamTest : public test::FakeCudaTest {
 protected:
  /// Over new memory of 4 MiB, or over that behind `fd`.
  static std::optional<Engine> open_engine(int fd = -1) {
    auto context = open();
    if (!context) {
      return std::nullopt;
    }
    auto memory = fd < 0 ? VramMemory::create(*context, 4 * mebibyte)
                         : VramMemory::import(*context, fd, 4 * mebibyte);
    auto stream = Stream::create(*context);
    if (!memory || !stream) {
      ADD_FAILURE() << (memory ? stream.error() : memory.error()).message();
      return std::nullopt;
    }
    return Engine{std::move(*context), std::move(*memory), std::move(*stream)};
  }
};

const std::vector<std::byte> ones(page, std::byte{1});
const std::vector<std::byte> twos(page, std::byte{2});

TEST_F(StreamTest, CopiesThereAndBack) {
  auto engine = open_engine();
  ASSERT_TRUE(engine);
  std::vector<std::byte> buffer(page);
  ASSERT_TRUE(engine->write(0, ones));
  ASSERT_TRUE(engine->write(4 * mebibyte - page, twos));
  ASSERT_TRUE(engine->read(0, buffer));
  EXPECT_EQ(buffer, ones);
  ASSERT_TRUE(engine->read(4 * mebibyte - page, buffer));
  EXPECT_EQ(buffer, twos);
}

TEST_F(StreamTest, CopiesInOrderAndNotBeforeTheWait) {
  auto engine = open_engine();
  ASSERT_TRUE(engine);
  auto address = engine->memory.device_pointer();
  std::vector<std::byte> buffer(page);
  ASSERT_TRUE(engine->stream.copy_from_host(address, ones.data(), page));
  ASSERT_TRUE(engine->stream.copy_from_host(address, twos.data(), page));
  ASSERT_TRUE(engine->stream.copy_to_host(buffer.data(), address, page));
  EXPECT_EQ(buffer, std::vector<std::byte>(page));
  ASSERT_TRUE(engine->stream.synchronize());
  EXPECT_EQ(buffer, twos);
}

TEST_F(StreamTest, RefusesRangesOutsideTheMemory) {
  auto engine = open_engine();
  ASSERT_TRUE(engine);
  std::vector<std::byte> buffer(page);
  auto outside = engine->read(4 * mebibyte - page / 2, buffer);
  ASSERT_FALSE(outside);
  EXPECT_EQ(outside.error().code, api::CUDA_ERROR_INVALID_VALUE);
  EXPECT_NE(
      outside.error().message().find("GPU 0000:0a:00.0: cuMemcpyDtoHAsync 4096 bytes from 0x"),
      std::string::npos)
      << outside.error().message();
  EXPECT_FALSE(engine->write(4 * mebibyte, ones));
  EXPECT_TRUE(engine->read(0, buffer)) << "a refused copy must not disturb the next";
}

TEST_F(StreamTest, CopiesWithoutAllocating) {
  auto engine = open_engine();
  ASSERT_TRUE(engine);
  std::vector<std::byte> buffer(page);
  auto before = test::allocation_count();
  for (std::uint64_t offset = 0; offset < 2 * mebibyte; offset += page) {
    ASSERT_TRUE(engine->write(offset, ones));
    ASSERT_TRUE(engine->read(offset, buffer));
  }
  EXPECT_EQ(test::allocation_count(), before);
}

TEST_F(StreamTest, WorksOnAnotherThreadOnceCurrentThere) {
  auto engine = open_engine();
  ASSERT_TRUE(engine);
  std::thread([&] {
    auto refused = engine->write(0, ones);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, api::CUDA_ERROR_INVALID_CONTEXT);
    ASSERT_TRUE(engine->context.make_current());
    EXPECT_TRUE(engine->write(0, ones));
  }).join();
}

TEST_F(StreamTest, ALostContextStaysLost) {
  setenv("FAKE_CUDA_AT_COPY", "2=700", 1);
  in_child([] {
    auto engine = open_engine();
    ASSERT_TRUE(engine);
    std::vector<std::byte> buffer(page);
    EXPECT_TRUE(engine->write(0, ones));
    auto lost = engine->write(page, ones);
    ASSERT_FALSE(lost);
    EXPECT_EQ(lost.error().message(),
              "GPU 0000:0a:00.0: cuStreamSynchronize: CUDA_ERROR_ILLEGAL_ADDRESS (700)");
    EXPECT_TRUE(context_is_lost(lost.error().code));
    EXPECT_FALSE(engine->read(0, buffer));
    EXPECT_EQ(engine->context.memory_info().error().code, api::CUDA_ERROR_ILLEGAL_ADDRESS);
    EXPECT_FALSE(VramMemory::create(engine->context, 2 * mebibyte));
  });
}

TEST_F(StreamTest, OnlyTheCopyInFlightIsLostWithItsProcess) {
  setenv("FAKE_CUDA_AT_COPY", "3=kill", 1);
  test::SocketPair sockets;
  Child worker([&] {
    auto engine = open_engine();
    ASSERT_TRUE(engine);
    test::send_fd(sockets.child(), engine->memory.export_fd().value());
    EXPECT_TRUE(engine->write(0, ones));
    EXPECT_TRUE(engine->write(page, twos));
    static_cast<void>(engine->write(2 * page, ones));
    FAIL() << "should have been killed";
  });
  int fd = test::receive_fd(sockets.parent());
  ASSERT_GE(fd, 0);
  int status = worker.wait();
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
  // The same environment: the fault has struck and does not strike again.
  in_child([&] {
    auto engine = open_engine(fd);
    ASSERT_TRUE(engine);
    std::vector<std::byte> buffer(page);
    ASSERT_TRUE(engine->read(0, buffer));
    EXPECT_EQ(buffer, ones);
    ASSERT_TRUE(engine->read(page, buffer));
    EXPECT_EQ(buffer, twos);
  });
  close(fd);
}

TEST_F(StreamTest, AHungDeviceHangsTheWait) {
  setenv("FAKE_CUDA_AT_COPY", "1=hang", 1);
  test::SocketPair sockets;
  Child worker([&] {
    auto engine = open_engine();
    ASSERT_TRUE(engine);
    test::send_fd(sockets.child(), sockets.child());  // about to hang
    static_cast<void>(engine->write(0, ones));
  });
  int fd = test::receive_fd(sockets.parent());
  ASSERT_GE(fd, 0);
  close(fd);
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_TRUE(worker.is_running());
  EXPECT_TRUE(WIFSIGNALED(worker.kill()));
}

TEST_F(StreamTest, AResetLosesTheContent) {
  setenv("FAKE_CUDA_AT_COPY", "1=reset", 1);
  test::SocketPair sockets;
  in_child([&] {
    auto engine = open_engine();
    ASSERT_TRUE(engine);
    test::send_fd(sockets.child(), engine->memory.export_fd().value());
    EXPECT_EQ(engine->write(0, ones).error().code, api::CUDA_ERROR_UNKNOWN);
  });
  int fd = test::receive_fd(sockets.parent());
  ASSERT_GE(fd, 0);
  in_child([&] {
    auto context = open();
    ASSERT_TRUE(context);
    EXPECT_FALSE(VramMemory::import(*context, fd, 4 * mebibyte));
    EXPECT_TRUE(VramMemory::create(*context, 64 * mebibyte));
  });
  close(fd);
}

TEST_F(StreamTest, RegistersHostMemoryOnceAtATime) {
  auto context = open();
  ASSERT_TRUE(context);
  std::vector<std::byte> buffer(16 * page);
  {
    auto registration = HostRegistration::create(*context, buffer);
    ASSERT_TRUE(registration) << registration.error().message();
    HostRegistration moved = std::move(*registration);
    auto again = HostRegistration::create(*context, buffer);
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().message(),
              "GPU 0000:0a:00.0: cuMemHostRegister 65536 bytes: "
              "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED (712)");
  }
  EXPECT_TRUE(HostRegistration::create(*context, buffer));
}

}  // namespace
}  // namespace vramswap::cuda
