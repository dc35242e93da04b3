// VRAM on a real card keeps its content when the processes that use it die, and is freed when no
// descriptor holds it. The parent never loads CUDA: it holds descriptors, as the supervisor does,
// and forks before any CUDA call.
#include "cuda/vram.hpp"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "cuda/context.hpp"
#include "cuda/device.hpp"
#include "cuda/driver.hpp"
#include "cuda/host_registration.hpp"
#include "cuda/stream.hpp"
#include "tests/unit/cuda/processes.hpp"

namespace vramswap::cuda {
namespace {

using test::Child;
using test::in_child;
using test::SocketPair;

constexpr std::uint64_t kMebibyte = 1ull << 20;
constexpr std::uint64_t kBlockBytes = 1024 * kMebibyte;
constexpr std::uint64_t kChunkBytes = 32 * kMebibyte;
// What contexts that come and go, ours and those of others, may change meanwhile.
constexpr std::uint64_t kToleranceBytes = 64 * kMebibyte;

/// A value that a child leaves for its parent.
template <typename T>
class Shared {
 public:
  Shared()
      : value_(static_cast<T*>(
            mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}
  Shared(const Shared&) = delete;
  Shared& operator=(const Shared&) = delete;
  ~Shared() { munmap(value_, sizeof(T)); }
  T& operator*() const { return *value_; }

 private:
  T* value_;
};

Result<Context> open_gpu() {
  auto driver = Driver::load();
  if (!driver) {
    return driver.error();
  }
  auto device = select_device(*driver, "0");
  if (!device) {
    return device.error();
  }
  return Context::create(*driver, *device);
}

std::uint64_t expected_word(std::uint64_t index) {
  return (index + 1) * 0x9e3779b97f4a7c15;  // odd factor: no word occurs twice
}

/// Hands each chunk of `memory` to `visit`, as the index of its first word and a pinned buffer.
/// Copies the buffer to the device afterwards, or from the device before.
enum class Direction { read, write };
void for_each_chunk(const Context& context, const VramMemory& memory, Direction direction,
                    const std::function<void(std::uint64_t, std::span<std::uint64_t>)>& visit) {
  std::vector<std::uint64_t> buffer(kChunkBytes / sizeof(std::uint64_t));
  auto registration = HostRegistration::create(context, std::as_writable_bytes(std::span(buffer)));
  auto stream = Stream::create(context);
  ASSERT_TRUE(registration) << registration.error().message();
  ASSERT_TRUE(stream) << stream.error().message();
  for (std::uint64_t offset = 0; offset < memory.size_bytes(); offset += kChunkBytes) {
    auto address = memory.device_pointer() + offset;
    std::uint64_t first_word = offset / sizeof(std::uint64_t);
    if (direction == Direction::read) {
      ASSERT_TRUE(stream->copy_to_host(buffer.data(), address, kChunkBytes));
      ASSERT_TRUE(stream->synchronize());
      visit(first_word, buffer);
    } else {
      visit(first_word, buffer);
      ASSERT_TRUE(stream->copy_from_host(address, buffer.data(), kChunkBytes));
      ASSERT_TRUE(stream->synchronize());
    }
  }
}

void write_pattern(const Context& context, const VramMemory& memory) {
  for_each_chunk(context, memory, Direction::write,
                 [](std::uint64_t first, std::span<std::uint64_t> words) {
                   for (std::uint64_t& word : words) {
                     word = expected_word(first++);
                   }
                 });
}

/// All words that are not `expected` of their index.
std::uint64_t wrong_words(const Context& context, const VramMemory& memory,
                          const std::function<std::uint64_t(std::uint64_t)>& expected) {
  std::uint64_t wrong = 0;
  std::uint64_t seen = 0;
  for_each_chunk(context, memory, Direction::read,
                 [&](std::uint64_t first, std::span<std::uint64_t> words) {
                   for (std::uint64_t word : words) {
                     wrong += word != expected(first++) ? 1 : 0;
                     ++seen;
                   }
                 });
  EXPECT_EQ(seen, memory.size_bytes() / sizeof(std::uint64_t));
  return wrong;
}

/// Allocates a block, fills it with the pattern and hands over its descriptor; then `end`.
Child start_worker(const SocketPair& sockets,
                   const std::function<void(Context&, VramMemory&)>& end) {
  return Child([&] {
    auto context = open_gpu();
    ASSERT_TRUE(context) << context.error().message();
    auto memory = VramMemory::create(*context, kBlockBytes);
    ASSERT_TRUE(memory) << memory.error().message();
    write_pattern(*context, *memory);
    auto fd = memory->export_fd();
    ASSERT_TRUE(fd) << fd.error().message();
    test::send_fd(sockets.child(), *fd);
    end(*context, *memory);
  });
}

void expect_pattern_in_new_process(int fd) {
  in_child([fd] {
    auto context = open_gpu();
    ASSERT_TRUE(context) << context.error().message();
    auto memory = VramMemory::import(*context, fd, kBlockBytes);
    ASSERT_TRUE(memory) << memory.error().message();
    EXPECT_EQ(wrong_words(*context, *memory, expected_word), 0u);
  });
}

std::uint64_t free_bytes_now() {
  Shared<std::uint64_t> result;
  in_child([&] {
    auto context = open_gpu();
    ASSERT_TRUE(context) << context.error().message();
    auto memory = context->memory_info();
    ASSERT_TRUE(memory) << memory.error().message();
    *result = memory->free_bytes;
  });
  return *result;
}

/// Writes to address 0 on the GPU, an exception that ends the context. These entry points are not
/// among those that vramswap uses.
void cause_exception() {
  const char* ptx =
      ".version 6.0\n"
      ".target sm_50\n"
      ".address_size 64\n"
      ".visible .entry fault() {\n"
      "  .reg .b64 address;\n"
      "  .reg .b32 value;\n"
      "  mov.u64 address, 0;\n"
      "  mov.u32 value, 1;\n"
      "  st.global.u32 [address], value;\n"
      "  ret;\n"
      "}\n";
  using Handle = void*;
  void* library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  ASSERT_NE(library, nullptr);
  auto load =
      reinterpret_cast<api::CUresult (*)(Handle*, const void*)>(dlsym(library, "cuModuleLoadData"));
  auto find = reinterpret_cast<api::CUresult (*)(Handle*, Handle, const char*)>(
      dlsym(library, "cuModuleGetFunction"));
  auto launch =
      reinterpret_cast<api::CUresult (*)(Handle, unsigned, unsigned, unsigned, unsigned, unsigned,
                                         unsigned, unsigned, api::CUstream, void**, void**)>(
          dlsym(library, "cuLaunchKernel"));
  auto wait = reinterpret_cast<api::CUresult (*)()>(dlsym(library, "cuCtxSynchronize"));
  ASSERT_TRUE(load != nullptr && find != nullptr && launch != nullptr && wait != nullptr);
  Handle module = nullptr;
  Handle function = nullptr;
  ASSERT_EQ(load(&module, ptx), api::CUDA_SUCCESS);
  ASSERT_EQ(find(&function, module, "fault"), api::CUDA_SUCCESS);
  ASSERT_EQ(launch(function, 1, 1, 1, 1, 1, 1, 0, nullptr, nullptr, nullptr), api::CUDA_SUCCESS);
  EXPECT_EQ(wait(), api::CUDA_ERROR_ILLEGAL_ADDRESS);
}

TEST(VramOnGpuTest, ContentOutlivesAKilledProcess) {
  SocketPair sockets;
  Child worker = start_worker(sockets, [](Context&, VramMemory&) { pause(); });
  int fd = test::receive_fd(sockets.parent());
  ASSERT_GE(fd, 0);
  EXPECT_TRUE(WIFSIGNALED(worker.kill()));
  expect_pattern_in_new_process(fd);
  expect_pattern_in_new_process(fd);
  close(fd);
}

TEST(VramOnGpuTest, ContentOutlivesAnException) {
  SocketPair sockets;
  Child worker = start_worker(sockets, [](Context& context, VramMemory& memory) {
    ASSERT_NO_FATAL_FAILURE(cause_exception());
    auto scrubbed = memory.scrub();
    ASSERT_FALSE(scrubbed) << "and the content is gone with it";
    EXPECT_TRUE(context_is_lost(scrubbed.error().code)) << scrubbed.error().message();
    // Whether or not the primary context can be retained once more, it does not work.
    auto again = Context::create(context.driver(), context.device());
    EXPECT_FALSE(memory.scrub());
  });
  int fd = test::receive_fd(sockets.parent());
  ASSERT_GE(fd, 0);
  EXPECT_EQ(worker.wait(), 0);
  expect_pattern_in_new_process(fd);
  close(fd);
}

TEST(VramOnGpuTest, ScrubZeroesAllOfIt) {
  SocketPair sockets;
  Child worker = start_worker(sockets, [](Context&, VramMemory& memory) {
    auto scrubbed = memory.scrub();
    ASSERT_TRUE(scrubbed) << scrubbed.error().message();
  });
  int fd = test::receive_fd(sockets.parent());
  ASSERT_GE(fd, 0);
  EXPECT_EQ(worker.wait(), 0);
  in_child([fd] {
    auto context = open_gpu();
    ASSERT_TRUE(context) << context.error().message();
    auto memory = VramMemory::import(*context, fd, kBlockBytes);
    ASSERT_TRUE(memory) << memory.error().message();
    EXPECT_EQ(wrong_words(*context, *memory, [](std::uint64_t) { return 0; }), 0u);
  });
  close(fd);
}

TEST(VramOnGpuTest, IsFreedWithTheLastDescriptor) {
  std::uint64_t free_before = free_bytes_now();
  SocketPair sockets;
  Child worker = start_worker(sockets, [](Context&, VramMemory&) {});
  int fd = test::receive_fd(sockets.parent());
  ASSERT_GE(fd, 0);
  EXPECT_EQ(worker.wait(), 0);
  std::uint64_t free_held = free_bytes_now();
  close(fd);
  std::uint64_t free_after = free_bytes_now();
  EXPECT_LE(free_held + kBlockBytes, free_before + kToleranceBytes);
  EXPECT_GE(free_after + kToleranceBytes, free_before);
}

TEST(VramOnGpuTest, SaysThatTheCardIsFull) {
  in_child([] {
    auto context = open_gpu();
    ASSERT_TRUE(context) << context.error().message();
    auto before = context->memory_info();
    ASSERT_TRUE(before);
    std::uint64_t too_much = (before->total_bytes / kBlockBytes + 1) * kBlockBytes;
    auto memory = VramMemory::create(*context, too_much);
    ASSERT_FALSE(memory);
    EXPECT_EQ(memory.error().message(), context->device().label() + ": cuMemCreate " +
                                            std::to_string(too_much) +
                                            " bytes: CUDA_ERROR_OUT_OF_MEMORY (2)");
    auto after = context->memory_info();
    ASSERT_TRUE(after);
    EXPECT_GE(after->free_bytes + kToleranceBytes, before->free_bytes);
    EXPECT_TRUE(VramMemory::create(*context, kBlockBytes)) << "the context must have survived it";
  });
}

TEST(VramOnGpuTest, RefusesWhatIsNotVram) {
  in_child([] {
    auto context = open_gpu();
    ASSERT_TRUE(context) << context.error().message();
    SocketPair sockets;
    auto memory = VramMemory::import(*context, sockets.parent(), kBlockBytes);
    ASSERT_FALSE(memory);
    EXPECT_FALSE(context_is_lost(memory.error().code)) << memory.error().message();
    EXPECT_TRUE(VramMemory::create(*context, kBlockBytes)) << "the context must have survived it";
  });
}

TEST(VramOnGpuTest, RefusesMoreThanWasExported) {
  in_child([] {
    auto context = open_gpu();
    ASSERT_TRUE(context) << context.error().message();
    auto memory = VramMemory::create(*context, kBlockBytes);
    ASSERT_TRUE(memory) << memory.error().message();
    auto fd = memory->export_fd();
    ASSERT_TRUE(fd) << fd.error().message();
    EXPECT_FALSE(VramMemory::import(*context, *fd, 2 * kBlockBytes));
    EXPECT_TRUE(VramMemory::import(*context, *fd, kBlockBytes));
    close(*fd);
  });
}

TEST(VramOnGpuTest, DevicesAreFoundByEachOfTheirNames) {
  in_child([] {
    auto driver = Driver::load();
    ASSERT_TRUE(driver) << driver.error().message();
    auto devices = list_devices(*driver);
    ASSERT_TRUE(devices) << devices.error().message();
    for (const DeviceInfo& device : *devices) {
      std::printf("%d: %s, %s, %s, %llu bytes%s%s\n", device.ordinal, device.name.c_str(),
                  device.uuid.c_str(), device.pci_address.c_str(),
                  static_cast<unsigned long long>(device.total_bytes),
                  device.drives_display ? ", drives a display" : "",
                  device.supports_fd_export ? "" : ", cannot export");
      EXPECT_EQ(device.uuid.size(), std::strlen("GPU-00000000-0000-0000-0000-000000000000"));
      EXPECT_GT(device.total_bytes, 0u);
      EXPECT_TRUE(device.supports_fd_export);
      std::string upper_case = "0000" + device.pci_address;  // as nvidia-smi prints it
      std::ranges::transform(upper_case, upper_case.begin(),
                             [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
      for (const std::string& selector : {std::to_string(device.ordinal), device.uuid,
                                          device.uuid.substr(4), device.pci_address, upper_case}) {
        auto selected = select_device(*devices, selector);
        ASSERT_TRUE(selected) << selected.error().message();
        EXPECT_EQ(selected->uuid, device.uuid) << selector;
      }
    }
    EXPECT_FALSE(select_device(*devices, std::to_string(devices->size())));
  });
}

/// Why these tests cannot run here; empty if they can. Asked in a child, as is all of CUDA.
std::string reason_to_skip() {
  Shared<char[512]> reason;
  in_child([&] {
    auto context = open_gpu();
    auto memory = context ? context->memory_info() : std::unexpected(context.error());
    if (!memory) {
      std::snprintf(*reason, sizeof(*reason), "%s", memory.error().message().c_str());
    } else if (memory->free_bytes < 3 * kBlockBytes) {
      std::snprintf(*reason, sizeof(*reason), "GPU 0 has less than 3 GiB free");
    }
  });
  return *reason;
}

}  // namespace
}  // namespace vramswap::cuda

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  if (GTEST_FLAG_GET(list_tests)) {
    return RUN_ALL_TESTS();
  }
  if (std::string reason = vramswap::cuda::reason_to_skip(); !reason.empty()) {
    std::printf("skipped: %s\n", reason.c_str());
    return 77;
  }
  return RUN_ALL_TESTS();
}
