#include "cuda/stream.hpp"

#include <gmock/gmock.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <span>
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
using test::kMebibyte;

constexpr std::size_t kPageBytes = 4096;

/// A device with a block of memory and a stream on it.
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
    auto memory = fd < 0 ? VramMemory::create(*context, 4 * kMebibyte)
                         : VramMemory::import(*context, fd, 4 * kMebibyte);
    auto stream = Stream::create(*context);
    if (!memory || !stream) {
      ADD_FAILURE() << (memory ? stream.error() : memory.error()).message();
      return std::nullopt;
    }
    return Engine{std::move(*context), std::move(*memory), std::move(*stream)};
  }
};

const std::vector<std::byte> kOnes(kPageBytes, std::byte{1});
const std::vector<std::byte> kTwos(kPageBytes, std::byte{2});

TEST_F(StreamTest, CopiesThereAndBack) {
  auto engine = open_engine();
  ASSERT_TRUE(engine);
  std::vector<std::byte> buffer(kPageBytes);
  ASSERT_TRUE(engine->write(0, kOnes));
  ASSERT_TRUE(engine->write(4 * kMebibyte - kPageBytes, kTwos));
  ASSERT_TRUE(engine->read(0, buffer));
  EXPECT_EQ(buffer, kOnes);
  ASSERT_TRUE(engine->read(4 * kMebibyte - kPageBytes, buffer));
  EXPECT_EQ(buffer, kTwos);
}

TEST_F(StreamTest, CopiesInOrderAndNotBeforeTheWait) {
  auto engine = open_engine();
  ASSERT_TRUE(engine);
  auto address = engine->memory.device_pointer();
  std::vector<std::byte> buffer(kPageBytes);
  ASSERT_TRUE(engine->stream.copy_from_host(address, kOnes.data(), kPageBytes));
  ASSERT_TRUE(engine->stream.copy_from_host(address, kTwos.data(), kPageBytes));
  ASSERT_TRUE(engine->stream.copy_to_host(buffer.data(), address, kPageBytes));
  EXPECT_EQ(buffer, std::vector<std::byte>(kPageBytes));
  ASSERT_TRUE(engine->stream.synchronize());
  EXPECT_EQ(buffer, kTwos);
}

TEST_F(StreamTest, RefusesRangesOutsideTheMemory) {
  auto engine = open_engine();
  ASSERT_TRUE(engine);
  std::vector<std::byte> buffer(kPageBytes);
  auto outside = engine->read(4 * kMebibyte - kPageBytes / 2, buffer);
  ASSERT_FALSE(outside);
  EXPECT_EQ(outside.error().code, api::CUDA_ERROR_INVALID_VALUE);
  EXPECT_NE(
      outside.error().message().find("GPU 0000:0a:00.0: cuMemcpyDtoHAsync 4096 bytes from 0x"),
      std::string::npos)
      << outside.error().message();
  EXPECT_FALSE(engine->write(4 * kMebibyte, kOnes));
  EXPECT_TRUE(engine->read(0, buffer)) << "a refused copy must not disturb the next";
}

TEST_F(StreamTest, CopiesWithoutAllocating) {
  auto engine = open_engine();
  ASSERT_TRUE(engine);
  std::vector<std::byte> buffer(kPageBytes);
  auto before = test::allocation_count();
  for (std::uint64_t offset = 0; offset < 2 * kMebibyte; offset += kPageBytes) {
    ASSERT_TRUE(engine->write(offset, kOnes));
    ASSERT_TRUE(engine->read(offset, buffer));
  }
  EXPECT_EQ(test::allocation_count(), before);
}

TEST_F(StreamTest, CopiesABatchByOneCall) {
  auto engine = open_engine();
  ASSERT_TRUE(engine);
  ASSERT_TRUE(engine->stream.has_batch_copy());
  std::vector<std::byte> buffer(3 * kPageBytes);
  ASSERT_TRUE(engine->write(0, kTwos));
  const auto vram = engine->memory.device_pointer();
  const auto host = reinterpret_cast<api::CUdeviceptr>(buffer.data());
  const auto source = reinterpret_cast<api::CUdeviceptr>(kOnes.data());
  // Both directions, and one copy shorter than the others.
  api::CUdeviceptr targets[] = {vram + 8 * kPageBytes, host + kPageBytes, vram + 2 * kPageBytes};
  api::CUdeviceptr sources[] = {source, vram, source};
  std::size_t bytes[] = {kPageBytes, kPageBytes / 2, kPageBytes};
  const auto before = test::allocation_count();
  ASSERT_TRUE(engine->stream.copy_batch(targets, sources, bytes));
  EXPECT_EQ(test::allocation_count(), before);
  EXPECT_EQ(buffer, std::vector<std::byte>(3 * kPageBytes)) << "before the wait";
  ASSERT_TRUE(engine->stream.synchronize());
  std::vector<std::byte> expected(3 * kPageBytes);
  std::fill_n(expected.begin() + kPageBytes, kPageBytes / 2, std::byte{2});
  EXPECT_EQ(buffer, expected);
  buffer.resize(kPageBytes);
  for (const std::uint64_t offset : {2 * kPageBytes, 8 * kPageBytes}) {
    ASSERT_TRUE(engine->read(offset, buffer));
    EXPECT_EQ(buffer, kOnes);
  }
}

TEST_F(StreamTest, WritesAValueBehindTheCopies) {
  auto engine = open_engine();
  ASSERT_TRUE(engine);
  ASSERT_TRUE(engine->stream.has_write_value());
  std::uint32_t words[] = {1, 2, 3};
  auto words_registration =
      HostRegistration::create(engine->context, std::as_writable_bytes(std::span(words)));
  ASSERT_TRUE(words_registration);
  ASSERT_TRUE(engine->write(0, kOnes));
  std::vector<std::byte> buffer(kPageBytes);
  ASSERT_TRUE(
      engine->stream.copy_to_host(buffer.data(), engine->memory.device_pointer(), kPageBytes));
  ASSERT_TRUE(engine->stream.write_value(
      words_registration->device_pointer() + sizeof(std::uint32_t), 0x80000001));
  const volatile std::uint32_t& word = words[1];
  while (word != 0x80000001) {
  }
  EXPECT_EQ(buffer, kOnes);
  EXPECT_THAT(words, testing::ElementsAre(1, 0x80000001, 3));
}

TEST_F(StreamTest, SaysWhichOfTheNewerCallsFailed) {
  setenv("FAKE_CUDA_FAIL", "cuMemcpyBatchAsync=1,cuStreamWriteValue32_v2=999", 1);
  auto engine = open_engine();
  ASSERT_TRUE(engine);
  api::CUdeviceptr addresses[] = {engine->memory.device_pointer()};
  std::size_t bytes[] = {kPageBytes};
  EXPECT_EQ(engine->stream.copy_batch(addresses, addresses, bytes).error().message(),
            "GPU 0000:0a:00.0: cuMemcpyBatchAsync of 1: CUDA_ERROR_INVALID_VALUE (1)");
  EXPECT_EQ(engine->stream.write_value(addresses[0], 1).error().message(),
            "GPU 0000:0a:00.0: cuStreamWriteValue32: CUDA_ERROR_UNKNOWN (999)");
}

TEST_F(StreamTest, WorksOnAnotherThreadOnceCurrentThere) {
  auto engine = open_engine();
  ASSERT_TRUE(engine);
  std::thread([&] {
    auto refused = engine->write(0, kOnes);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, api::CUDA_ERROR_INVALID_CONTEXT);
    ASSERT_TRUE(engine->context.make_current());
    EXPECT_TRUE(engine->write(0, kOnes));
  }).join();
}

TEST_F(StreamTest, ALostContextStaysLost) {
  setenv("FAKE_CUDA_AT_COPY", "2=700", 1);
  in_child([] {
    auto engine = open_engine();
    ASSERT_TRUE(engine);
    std::vector<std::byte> buffer(kPageBytes);
    EXPECT_TRUE(engine->write(0, kOnes));
    auto lost = engine->write(kPageBytes, kOnes);
    ASSERT_FALSE(lost);
    EXPECT_EQ(lost.error().message(),
              "GPU 0000:0a:00.0: cuStreamQuery: CUDA_ERROR_ILLEGAL_ADDRESS (700)");
    EXPECT_TRUE(context_is_lost(lost.error().code));
    EXPECT_FALSE(engine->read(0, buffer));
    EXPECT_EQ(engine->context.memory_info().error().code, api::CUDA_ERROR_ILLEGAL_ADDRESS);
    EXPECT_FALSE(VramMemory::create(engine->context, 2 * kMebibyte));
  });
}

TEST_F(StreamTest, AFlippedBitIsNoError) {
  setenv("FAKE_CUDA_AT_COPY", "2=flip", 1);
  in_child([] {
    auto engine = open_engine();
    ASSERT_TRUE(engine);
    EXPECT_TRUE(engine->write(0, kOnes));
    std::vector<std::byte> buffer(kPageBytes);
    ASSERT_TRUE(engine->read(0, buffer));
    EXPECT_NE(buffer, kOnes);
    buffer[kPageBytes / 2] ^= std::byte{1};
    EXPECT_EQ(buffer, kOnes);
    ASSERT_TRUE(engine->read(0, buffer));
    EXPECT_EQ(buffer, kOnes) << "the memory itself is right";
  });
}

TEST_F(StreamTest, OnlyTheCopyInFlightIsLostWithItsProcess) {
  setenv("FAKE_CUDA_AT_COPY", "3=kill", 1);
  test::SocketPair sockets;
  Child worker([&] {
    auto engine = open_engine();
    ASSERT_TRUE(engine);
    test::send_fd(sockets.child(), engine->memory.export_fd().value());
    EXPECT_TRUE(engine->write(0, kOnes));
    EXPECT_TRUE(engine->write(kPageBytes, kTwos));
    static_cast<void>(engine->write(2 * kPageBytes, kOnes));
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
    std::vector<std::byte> buffer(kPageBytes);
    ASSERT_TRUE(engine->read(0, buffer));
    EXPECT_EQ(buffer, kOnes);
    ASSERT_TRUE(engine->read(kPageBytes, buffer));
    EXPECT_EQ(buffer, kTwos);
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
    static_cast<void>(engine->write(0, kOnes));
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
    EXPECT_EQ(engine->write(0, kOnes).error().code, api::CUDA_ERROR_UNKNOWN);
  });
  int fd = test::receive_fd(sockets.parent());
  ASSERT_GE(fd, 0);
  in_child([&] {
    auto context = open();
    ASSERT_TRUE(context);
    EXPECT_FALSE(VramMemory::import(*context, fd, 4 * kMebibyte));
    EXPECT_TRUE(VramMemory::create(*context, 64 * kMebibyte));
  });
  close(fd);
}

TEST_F(StreamTest, RegistersHostMemoryOnceAtATime) {
  auto context = open();
  ASSERT_TRUE(context);
  std::vector<std::byte> buffer(16 * kPageBytes);
  {
    auto registration = HostRegistration::create(*context, buffer);
    ASSERT_TRUE(registration) << registration.error().message();
    const auto where = reinterpret_cast<api::CUdeviceptr>(buffer.data());
    EXPECT_EQ(registration->device_pointer(), where);
    HostRegistration moved = std::move(*registration);
    EXPECT_EQ(moved.device_pointer(), where);
    auto again = HostRegistration::create(*context, buffer);
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().message(),
              "GPU 0000:0a:00.0: cuMemHostRegister 65536 bytes: "
              "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED (712)");
  }
  EXPECT_TRUE(HostRegistration::create(*context, buffer));
}

TEST_F(StreamTest, HostMemoryThatTheDeviceCannotSeeIsNotRegistered) {
  setenv("FAKE_CUDA_FAIL", "cuMemHostGetDevicePointer_v2=999", 1);
  auto context = open();
  ASSERT_TRUE(context);
  std::vector<std::byte> buffer(kPageBytes);
  for (int i = 0; i < 2; ++i) {  // the second time it would be registered already
    EXPECT_EQ(HostRegistration::create(*context, buffer).error().message(),
              "GPU 0000:0a:00.0: cuMemHostGetDevicePointer: CUDA_ERROR_UNKNOWN (999)");
  }
}

}  // namespace
}  // namespace vramswap::cuda
