#include "cuda/page_kernel.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "cuda/host_registration.hpp"
#include "cuda/stream.hpp"
#include "cuda/vram.hpp"
#include "tests/unit/cuda/allocation_count.hpp"
#include "tests/unit/cuda/fake_cuda_test.hpp"
#include "tests/unit/cuda/processes.hpp"

namespace vramswap::cuda {
namespace {

using test::kMebibyte;

constexpr std::size_t kPage = PageKernel::kPageBytes;
constexpr std::size_t kVramPages = 4 * kMebibyte / kPage;
// Where batches count from: pages lie before it and behind it.
constexpr std::size_t kMiddle = kVramPages / 2;
constexpr std::uint32_t kUntouched = 0xdddddddd;
constexpr std::uint32_t kTag = 7;

/// Random, but each time the same.
std::vector<std::byte> noise(std::size_t bytes, unsigned seed) {
  std::vector<std::byte> result(bytes);
  std::uint32_t state = seed;
  for (std::byte& byte : result) {
    state = state * 1664525 + 1013904223;
    byte = static_cast<std::byte>(state >> 24);
  }
  return result;
}

/// A device whose memory a test reads and writes by itself: with the fake, it is host memory.
struct Card {
  Context context;
  VramMemory memory;
  Stream stream;
  PageKernel kernel;

  std::span<std::byte> vram() const {
    return {reinterpret_cast<std::byte*>(memory.device_pointer()), memory.size_bytes()};
  }
};

class PageKernelTest : public test::FakeCudaTest {
 protected:
  PageKernelTest() : host_bytes_(noise((PageKernel::kMaxPages + 2) * kPage, 1)) {
    std::ranges::copy(host_bytes_, host_.begin());
  }

  static std::optional<Card> open_engine() {
    auto context = open();
    if (!context) return std::nullopt;
    auto memory = VramMemory::create(*context, 4 * kMebibyte);
    auto stream = Stream::create(*context);
    auto kernel = PageKernel::load(*context);
    if (!memory || !stream || !kernel) {
      ADD_FAILURE() << "memory, stream or kernel";
      return std::nullopt;
    }
    return Card{std::move(*context), std::move(*memory), std::move(*stream), std::move(*kernel)};
  }

  /// Every other page around the middle, in no order, with the host pages in another; the host's
  /// begin `shift` bytes behind a page.
  void scatter(std::size_t count, std::uint32_t shift = 0) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t place = i * 7 % count;
      pages_[i] = {static_cast<std::int32_t>(2 * place) - static_cast<std::int32_t>(count),
                   static_cast<std::uint32_t>(i * 11 % count * kPage) + shift};
    }
  }

  PageKernel::Batch batch(const Card& engine, std::size_t count) {
    return {.device = engine.memory.device_pointer() + kMiddle * kPage,
            .host = reinterpret_cast<api::CUdeviceptr>(host_.data()),
            .flags = reinterpret_cast<api::CUdeviceptr>(&flags_[1]),
            .tag = kTag,
            .pages = pages_,
            .count = count};
  }

  static std::size_t vram_offset(const PageKernel::Page& each) {
    return static_cast<std::size_t>(static_cast<std::int64_t>(kMiddle) + each.device_page) * kPage;
  }

  void expect_flags(std::size_t count) const {
    std::vector<std::uint32_t> expected(flags_.size(), kUntouched);
    std::fill_n(expected.begin() + 1, count, kTag);
    EXPECT_EQ(flags_, expected);
  }

  const std::vector<std::byte> host_bytes_;
  // Aligned as registered memory is.
  struct alignas(kPage) HostPage {
    std::array<std::byte, kPage> bytes;
  };
  std::vector<HostPage> host_pages_{PageKernel::kMaxPages + 2};
  std::span<std::byte> host_{host_pages_.front().bytes.data(), host_pages_.size() * kPage};
  // One more than pages, at both ends.
  std::vector<std::uint32_t> flags_ =
      std::vector<std::uint32_t>(PageKernel::kMaxPages + 2, kUntouched);
  std::array<PageKernel::Page, PageKernel::kMaxPages> pages_{};
};

// The sizes are at the limits by which it chooses its parameters.
class PageKernelCountTest : public PageKernelTest, public testing::WithParamInterface<unsigned> {};

INSTANTIATE_TEST_SUITE_P(Pages, PageKernelCountTest, testing::Values(1, 16, 17, 64, 65, 480),
                         testing::PrintToStringParamName());

TEST_P(PageKernelCountTest, CopiesScatteredPagesToTheHost) {
  const auto engine = open_engine();
  ASSERT_TRUE(engine);
  auto stream = Stream::create(engine->context).value();
  const auto vram = noise(engine->vram().size(), 2);
  std::ranges::copy(vram, engine->vram().begin());
  scatter(GetParam());
  auto expected = host_bytes_;
  for (const auto& each : std::span(pages_).first(GetParam())) {
    std::copy_n(vram.begin() + static_cast<std::ptrdiff_t>(vram_offset(each)), kPage,
                expected.begin() + each.host_offset);
  }
  auto all = batch(*engine, GetParam());
  const auto queued = engine->kernel.copy_to_host(stream, all);
  ASSERT_TRUE(queued) << queued.error().message();
  ASSERT_TRUE(stream.synchronize());
  EXPECT_TRUE(std::ranges::equal(host_, expected));
  EXPECT_TRUE(std::ranges::equal(engine->vram(), vram));
  expect_flags(GetParam());
}

// Payloads come at any multiple of 4 bytes.
TEST_P(PageKernelCountTest, CopiesScatteredPagesFromUnalignedHostMemory) {
  auto engine = open_engine();
  ASSERT_TRUE(engine);
  auto expected = noise(engine->vram().size(), 2);
  std::ranges::copy(expected, engine->vram().begin());
  scatter(GetParam(), 28);
  for (const auto& each : std::span(pages_).first(GetParam())) {
    std::copy_n(host_bytes_.begin() + each.host_offset, kPage,
                expected.begin() + static_cast<std::ptrdiff_t>(vram_offset(each)));
  }
  auto all = batch(*engine, GetParam());
  const auto queued = engine->kernel.copy_from_host(engine->stream, all);
  ASSERT_TRUE(queued) << queued.error().message();
  ASSERT_TRUE(engine->stream.synchronize());
  EXPECT_TRUE(std::ranges::equal(engine->vram(), expected));
  EXPECT_TRUE(std::ranges::equal(host_, host_bytes_));
  expect_flags(GetParam());
}

TEST_F(PageKernelTest, CopiesWithoutAllocating) {
  auto engine = open_engine();
  ASSERT_TRUE(engine);
  scatter(PageKernel::kMaxPages);
  const auto before = test::allocation_count();
  auto all = batch(*engine, PageKernel::kMaxPages);
  ASSERT_TRUE(engine->kernel.copy_from_host(engine->stream, all));
  ASSERT_TRUE(engine->kernel.copy_to_host(engine->stream, all));
  ASSERT_TRUE(engine->stream.synchronize());
  EXPECT_EQ(test::allocation_count(), before);
}

TEST_F(PageKernelTest, AMovedOneStillCopies) {
  auto engine = open_engine();
  ASSERT_TRUE(engine);
  PageKernel moved = std::move(engine->kernel);
  engine->kernel = std::move(moved);
  scatter(1);
  auto all = batch(*engine, 1);
  EXPECT_TRUE(engine->kernel.copy_from_host(engine->stream, all));
  expect_flags(1);
}

TEST_F(PageKernelTest, SaysWhyItCannotBeLoaded) {
  for (const auto& [fault, message] :
       {std::pair("cuModuleLoadDataEx=2",
                  "GPU 0000:0a:00.0: cuModuleLoadData: CUDA_ERROR_OUT_OF_MEMORY (2)"),
        std::pair("cuModuleGetFunction=1",
                  "GPU 0000:0a:00.0: cuModuleGetFunction to_host_16: CUDA_ERROR_INVALID_VALUE "
                  "(1)")}) {
    setenv("FAKE_CUDA_FAIL", fault, 1);
    const auto context = open();
    ASSERT_TRUE(context);
    const auto kernel = PageKernel::load(*context);
    ASSERT_FALSE(kernel);
    EXPECT_EQ(kernel.error().message(), message);
  }
}

// The next process does not need the compiler.
TEST_F(PageKernelTest, WhatWasCompiledIsLoadedWithoutTheCompiler) {
  auto context = open();
  ASSERT_TRUE(context);
  const auto compiled = PageKernel::compile(*context);
  ASSERT_TRUE(compiled) << compiled.error().message();
  setenv("FAKE_CUDA_JIT", "0", 1);
  context = open();
  ASSERT_TRUE(context);
  EXPECT_EQ(PageKernel::load(*context).error().code, api::CUDA_ERROR_JIT_COMPILER_NOT_FOUND);
  EXPECT_TRUE(PageKernel::load(*context, *compiled));
}

TEST_F(PageKernelTest, SaysWhyItCannotBeCompiled) {
  for (const auto& [fault, call] : {std::pair("cuLinkCreate_v2=221", "cuLinkCreate"),
                                    std::pair("cuLinkAddData_v2=221", "cuLinkAddData"),
                                    std::pair("cuLinkComplete=221", "cuLinkComplete")}) {
    setenv("FAKE_CUDA_FAIL", fault, 1);
    const auto context = open();
    ASSERT_TRUE(context);
    const auto compiled = PageKernel::compile(*context);
    ASSERT_FALSE(compiled);
    EXPECT_EQ(compiled.error().message(), std::string("GPU 0000:0a:00.0: ") + call +
                                              ": CUDA_ERROR_JIT_COMPILER_NOT_FOUND (221)");
  }
}

TEST_F(PageKernelTest, SaysWhyItCannotBeLaunched) {
  setenv("FAKE_CUDA_FAIL", "cuLaunchKernel=701", 1);
  auto engine = open_engine();
  ASSERT_TRUE(engine);
  scatter(17);
  auto all = batch(*engine, 17);
  const auto queued = engine->kernel.copy_to_host(engine->stream, all);
  ASSERT_FALSE(queued);
  EXPECT_EQ(queued.error().code, 701);
  EXPECT_NE(queued.error().message().find("GPU 0000:0a:00.0: cuLaunchKernel for 17 pages: "),
            std::string::npos)
      << queued.error().message();
  expect_flags(0);
}

// Why this direction wants multiples of 16 bytes. The context goes with it.
TEST_F(PageKernelTest, UnalignedHostMemoryCannotBeWritten) {
  test::in_child([&] {
    auto engine = open_engine();
    ASSERT_TRUE(engine);
    scatter(1, 4);
    auto all = batch(*engine, 1);
    ASSERT_TRUE(engine->kernel.copy_to_host(engine->stream, all));
    EXPECT_EQ(engine->stream.synchronize().error().code, api::CUDA_ERROR_ILLEGAL_ADDRESS);
    expect_flags(0);
  });
}

}  // namespace
}  // namespace vramswap::cuda
