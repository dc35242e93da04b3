// VRAM copiers over the fake libcuda, and the bytes that must be there after a batch.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cuda/vram.hpp"
#include "daemon/worker/store/vram_copier.hpp"
#include "tests/unit/cuda/fake_cuda_test.hpp"

namespace vramswap {

class VramCopierTest : public test::FakeCudaTest {
 protected:
  static constexpr std::size_t kPage = 4096;
  static constexpr std::size_t kHostPages = 1024;
  static constexpr std::size_t kVramPages = 2048;
  using Bytes = std::vector<std::byte>;
  using Names = std::vector<std::string>;

  // In pages, from the begin of the host memory and of the VRAM.
  struct Extent {
    std::size_t host;
    std::size_t vram;
    std::size_t pages;
  };
  using Extents = std::vector<Extent>;

  // A copier with its host memory.
  struct Lane {
    explicit Lane(VramCopierTest& test)
        : memory(kHostPages), host(memory.front().bytes, kHostPages * kPage) {
      auto made = make_vram_copier(*test.context_, test.shared_, host);
      EXPECT_TRUE(made) << made.error().message;
      if (made) copier = *std::move(made);
    }

    struct alignas(kPage) HostPage {
      std::byte bytes[kPage];
    };
    std::vector<HostPage> memory;
    std::span<std::byte> host;
    std::unique_ptr<Copier> copier;
  };

  // Of the calls that copies are made of, only these work with the next open_device(). It does not
  // take the names of those that are missing there.
  static void allow(const Names& calls, const Names& missing = {}) {
    std::string fail;
    for (const char* call : {"cuMemcpyDtoHAsync_v2", "cuMemcpyHtoDAsync_v2", "cuMemcpyBatchAsync",
                             "cuStreamWriteValue32_v2", "cuStreamQuery", "cuLaunchKernel"}) {
      if (contains(calls, call) || contains(missing, call)) continue;
      fail += std::string(fail.empty() ? "" : ",") + call + "=1";
    }
    setenv("FAKE_CUDA_FAIL", fail.c_str(), 1);
  }

  // An older driver: `missing` are functions that it does not have.
  void open_device(bool with_kernel = true, const Names& missing = {}) {
    const auto library = missing.empty() ? std::string(FAKE_LIBCUDA) : library_without(missing);
    context_ = open("0", library.c_str());
    ASSERT_TRUE(context_);
    const auto& newer = context_->driver().newer();
    ASSERT_EQ(newer.cuMemcpyBatchAsync == nullptr, contains(missing, "cuMemcpyBatchAsync"));
    ASSERT_EQ(newer.cuStreamWriteValue32_v2 == nullptr,
              contains(missing, "cuStreamWriteValue32_v2"));
    auto memory = cuda::VramMemory::create(*context_, kVramPages * kPage);
    ASSERT_TRUE(memory) << memory.error().message();
    memory_ = *std::move(memory);
    if (!with_kernel) return;
    auto kernel = cuda::PageKernel::load(*context_);
    ASSERT_TRUE(kernel) << kernel.error().message();
    shared_.kernel = *std::move(kernel);
  }

  // With the fake, a test can look into it.
  std::span<std::byte> vram() const {
    return {reinterpret_cast<std::byte*>(memory_->device_pointer()), kVramPages * kPage};
  }

  std::vector<Copy> copies(const Lane& lane, const Extents& extents) const {
    std::vector<Copy> result;
    for (const Extent& extent : extents) {
      result.push_back({.host = lane.host.data() + extent.host * kPage,
                        .address = memory_->device_pointer() + extent.vram * kPage,
                        .bytes = extent.pages * kPage});
    }
    return result;
  }

  // With words of which no two are the same. A generator of random numbers would take most of a
  // test's time.
  void fill(std::span<std::byte> target) {
    for (std::size_t i = 0; i < target.size(); i += sizeof(std::uint64_t)) {
      const std::uint64_t word = ++words_ * 0x9e3779b97f4a7c15;
      std::memcpy(&target[i], &word, sizeof word);
    }
  }

  static Bytes copy_of(std::span<const std::byte> bytes) {
    Bytes copy(bytes.size());
    std::memcpy(copy.data(), bytes.data(), bytes.size());
    return copy;
  }

  static bool is_same(std::span<const std::byte> bytes, const Bytes& expected) {
    return bytes.size() == expected.size() &&
           std::memcmp(bytes.data(), expected.data(), bytes.size()) == 0;
  }

  // Does the copies of the batch here.
  static void apply(Direction direction, const Extents& extents, std::span<std::byte> host,
                    std::span<std::byte> vram) {
    for (const Extent& extent : extents) {
      const auto in_host = host.subspan(extent.host * kPage, extent.pages * kPage);
      const auto in_vram = vram.subspan(extent.vram * kPage, extent.pages * kPage);
      if (direction == Direction::to_host) {
        std::memcpy(in_host.data(), in_vram.data(), in_host.size());
      } else {
        std::memcpy(in_vram.data(), in_host.data(), in_host.size());
      }
    }
  }

  // `count` extents of `pages` each, scattered in both memories, from these pages on.
  static Extents scattered(std::size_t count, std::size_t pages = 1, std::size_t host = 0,
                           std::size_t vram = 0) {
    Extents result;
    for (std::size_t i = 0; i < count; ++i) {
      // No two of them touch in VRAM. Most lie before the first one.
      const std::size_t place = (i + count / 2 + 1) * 7 % count;
      result.push_back({host + i * 11 % count * pages, vram + place * (pages + 1), pages});
    }
    std::swap(result.front(), result[count / 2]);
    return result;
  }

  std::optional<cuda::Context> context_;
  std::optional<cuda::VramMemory> memory_;
  VramCopierShared shared_;
  std::uint64_t words_ = 0;

 private:
  static bool contains(const Names& names, const char* name) {
    return std::ranges::find(names, name) != names.end();
  }

  // A copy of the fake in which the names of `functions` are others.
  std::string library_without(const Names& functions) const {
    std::ifstream input(FAKE_LIBCUDA, std::ios::binary);
    std::string image(std::istreambuf_iterator<char>(input), {});
    for (const std::string& function : functions) {
      const std::string name(function.c_str(), function.size() + 1);  // with its end
      for (std::size_t at = 0; (at = image.find(name, at)) != image.npos; ++at) image[at] = 'C';
    }
    auto path = directory() / "libcuda.so.1";
    std::ofstream(path, std::ios::binary) << image;
    return path;
  }
};

}  // namespace vramswap
