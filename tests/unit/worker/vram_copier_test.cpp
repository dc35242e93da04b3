// By whichever calls a copier copies, the right bytes are in the right places afterwards.
#include <thread>

#include "daemon/worker/store/vram_store.hpp"
#include "tests/unit/cuda/allocation_count.hpp"
#include "tests/unit/cuda/processes.hpp"
#include "tests/unit/worker/vram_copier_fixture.hpp"

namespace vramswap {
namespace {

constexpr const char* kBatch = "cuMemcpyBatchAsync";
constexpr const char* kValue = "cuStreamWriteValue32_v2";
constexpr const char* kWait = "cuStreamQuery";
constexpr const char* kLaunch = "cuLaunchKernel";
constexpr const char* kToHost = "cuMemcpyDtoHAsync_v2";
constexpr const char* kFromHost = "cuMemcpyHtoDAsync_v2";

struct Way {
  const char* name;
  std::size_t extents;
  std::size_t pages;  // of each extent
  bool kernel;
  bool alone;
  std::vector<std::string> missing;
  std::vector<std::string> calls;  // all that may be needed
};

class VramCopierWayTest : public VramCopierTest, public testing::WithParamInterface<Way> {};

TEST_P(VramCopierWayTest, CopiesTheRightBytes) {
  const Way& way = GetParam();
  allow(way.calls, way.missing);
  ASSERT_NO_FATAL_FAILURE(open_device(way.kernel, way.missing));
  shared_.busy = way.alone ? 0 : 1;
  Lane lane(*this);
  ASSERT_TRUE(lane.copier);
  const Extents extents = scattered(way.extents, way.pages, 5, 9);
  const auto batch = copies(lane, extents);
  for (const Direction direction : {Direction::to_host, Direction::from_host, Direction::to_host}) {
    fill(lane.host);
    fill(vram());
    Bytes host = copy_of(lane.host);
    Bytes device = copy_of(vram());
    apply(direction, extents, host, device);
    const auto allocations = test::allocation_count();
    const auto begun = lane.copier->begin(direction, 1, batch);
    ASSERT_TRUE(begun) << begun.error().message;
    const auto done = lane.copier->wait(direction, 1, batch.size());
    ASSERT_TRUE(done) << done.error().message;
    EXPECT_EQ(test::allocation_count(), allocations);
    EXPECT_TRUE(is_same(lane.host, host));
    EXPECT_TRUE(is_same(vram(), device));
    EXPECT_EQ(shared_.busy, way.alone ? 0U : 1U);
  }
}

INSTANTIATE_TEST_SUITE_P(
    , VramCopierWayTest,
    testing::Values(
        Way{"OnePage", 1, 1, true, true, {}, {kToHost, kFromHost, kValue}},
        Way{"OneExtent", 1, 32, true, true, {}, {kToHost, kFromHost, kValue}},
        Way{"OnePageWhereOthersCopy", 1, 1, true, false, {}, {kLaunch}},
        Way{"TwoPages", 2, 1, true, true, {}, {kLaunch}},
        Way{"Pages", 100, 1, true, true, {}, {kLaunch}},
        Way{"ExtentsWhereOthersCopy", 10, 3, true, false, {}, {kLaunch}},
        // More than a launch takes; the limit is within a extent.
        Way{"TwoLaunches", 512, 1, true, true, {}, {kLaunch}},
        Way{"AExtentInTwoLaunches", 73, 7, true, true, {}, {kLaunch}},
        Way{"JustOneLaunch", 60, 8, true, true, {}, {kLaunch}},
        Way{"LongExtents", 8, 16, true, true, {}, {kToHost, kFromHost, kValue}},
        Way{"LongExtentsWhereOthersCopy", 4, 128, true, false, {}, {kToHost, kFromHost, kValue}},
        Way{"LongExtentsWithoutWriteValue", 8, 16, true, true, {kValue}, {kLaunch}},
        Way{"TooFewLongExtents", 7, 16, true, true, {}, {kLaunch}},
        Way{"ExtentsNotLongEnough", 9, 15, true, true, {}, {kLaunch}},
        Way{"OnePageWithoutKernel", 1, 1, false, true, {}, {kToHost, kFromHost, kValue}},
        Way{"PagesWithoutKernel", 100, 1, false, true, {}, {kBatch, kValue}},
        Way{"AsManyPagesAsCanBeWithoutKernel", 512, 1, false, true, {}, {kBatch, kValue}},
        Way{"LongExtentsWithoutKernel", 4, 128, false, true, {}, {kBatch, kValue}},
        Way{"PagesWithoutKernelWhereOthersCopy", 9, 1, false, false, {}, {kBatch, kWait}},
        Way{"PagesByCuda11_7", 100, 2, false, true, {kBatch}, {kToHost, kFromHost, kValue}},
        Way{"PagesByCuda11_4", 100, 2, false, true, {kBatch, kValue}, {kToHost, kFromHost, kWait}},
        Way{"OnePageByCuda11_4", 1, 1, true, true, {kBatch, kValue}, {kToHost, kFromHost, kWait}}),
    [](const auto& each) { return each.param.name; });

// Behind a refused WRITE of an odd length; the kernel would end in a misaligned access.
TEST_F(VramCopierTest, PayloadsAtOddAddressesGoByTheCopyEngine) {
  allow({kBatch, kValue});
  ASSERT_NO_FATAL_FAILURE(open_device());
  Lane lane(*this);
  ASSERT_TRUE(lane.copier);
  fill(lane.host);
  fill(vram());
  Bytes expected = copy_of(vram());
  auto batch = copies(lane, scattered(9));
  for (Copy& copy : batch) {
    ++copy.host;
    std::memcpy(expected.data() + (copy.address - memory_->device_pointer()), copy.host, kPage);
  }
  ASSERT_TRUE(lane.copier->begin(Direction::from_host, 0, batch));
  ASSERT_TRUE(lane.copier->wait(Direction::from_host, 0, batch.size()));
  EXPECT_TRUE(is_same(vram(), expected));
}

// Of two that are busy at a time, each by itself.
TEST_F(VramCopierTest, TwoThreadsCopyAtTheSameTime) {
  ASSERT_NO_FATAL_FAILURE(open_device());
  fill(vram());
  Bytes expected = copy_of(vram());
  const auto copy_half = [&](std::size_t half) {
    ASSERT_TRUE(context_->make_current());
    Lane lane(*this);
    ASSERT_TRUE(lane.copier);
    const std::size_t first = half * kVramPages / 2;
    for (std::size_t i = 0; i < 100; ++i) {
      const Extents extents = scattered(i % 9 + 1, 1, i, first + i);
      const auto batch = copies(lane, extents);
      ASSERT_TRUE(lane.copier->begin(Direction::to_host, 0, batch));
      ASSERT_TRUE(lane.copier->wait(Direction::to_host, 0, batch.size()));
      for (const Copy& copy : batch) {
        const auto* stored = expected.data() + (copy.address - memory_->device_pointer());
        ASSERT_EQ(std::memcmp(copy.host, stored, kPage), 0);
        copy.host[i] ^= std::byte{0xff};
      }
      ASSERT_TRUE(lane.copier->begin(Direction::from_host, 1, batch));
      ASSERT_TRUE(lane.copier->wait(Direction::from_host, 1, batch.size()));
      for (const Extent& extent : extents) expected[extent.vram * kPage + i] ^= std::byte{0xff};
    }
  };
  std::thread other(copy_half, 1);
  copy_half(0);
  other.join();
  EXPECT_TRUE(is_same(vram(), expected));
  EXPECT_EQ(shared_.busy, 0U);
}

// One more copier with a batch under way, and a page goes by the kernel.
TEST_F(VramCopierTest, IsNotAloneWhileAnotherHasABatchUnderWay) {
  allow({kLaunch});
  ASSERT_NO_FATAL_FAILURE(open_device());
  Lane first(*this);
  Lane second(*this);
  const auto many = copies(first, scattered(3));
  const auto page = copies(second, scattered(1));
  ASSERT_TRUE(first.copier->begin(Direction::to_host, 0, many));
  ASSERT_TRUE(first.copier->begin(Direction::to_host, 1, many));
  ASSERT_TRUE(first.copier->wait(Direction::to_host, 0, many.size()));
  EXPECT_TRUE(second.copier->begin(Direction::to_host, 0, page));
  EXPECT_TRUE(second.copier->wait(Direction::to_host, 0, page.size()));
  ASSERT_TRUE(first.copier->wait(Direction::to_host, 1, many.size()));
  EXPECT_FALSE(second.copier->begin(Direction::to_host, 0, page)) << "alone by now";
}

TEST_F(VramCopierTest, ABatchThatIsWaitedForTwiceIsCountedOnce) {
  allow({"cuMemcpyDtoHAsync_v2", "cuStreamQuery", "cuLaunchKernel"});
  ASSERT_NO_FATAL_FAILURE(open_device());
  Lane lane(*this);
  const auto batch = copies(lane, scattered(3));
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(lane.copier->begin(Direction::to_host, 0, batch));
    EXPECT_EQ(shared_.busy.load(), 1U);
    ASSERT_TRUE(lane.copier->wait(Direction::to_host, 0, batch.size()));
    ASSERT_TRUE(lane.copier->wait(Direction::to_host, 0, batch.size()));
    EXPECT_EQ(shared_.busy.load(), 0U);
  }
}

TEST_F(VramCopierTest, ADeviceThatCannotLoadTheKernelCopiesWithoutIt) {
  setenv("FAKE_CUDA_FAIL", "cuModuleLoadDataEx=2,cuLaunchKernel=1", 1);
  test::in_child([&] {
    // A library that is loaded is found by its name afterwards.
    ASSERT_TRUE(load());
    DriverFiles files;
    ContextRoom room;
    const auto device = make_vram_device("", files, HostMemory::swappable, room, directory());
    ASSERT_TRUE(device) << device.error().message;
    const auto store = (*device)->create(2 << 20);
    ASSERT_TRUE(store) << store.error().message;
    Bytes host(4 * kPage, std::byte{1});
    const auto copier = (*device)->make_copier(host);
    ASSERT_TRUE(copier) << copier.error().message;
    const Copy batch[] = {{host.data(), (*store)->address() + kPage, kPage},
                          {host.data() + 3 * kPage, (*store)->address(), kPage}};
    ASSERT_TRUE((*copier)->begin(Direction::to_host, 0, batch));
    ASSERT_TRUE((*copier)->wait(Direction::to_host, 0, 2));
    Bytes expected(4 * kPage, std::byte{0});
    std::fill_n(expected.begin() + kPage, 2 * kPage, std::byte{1});
    EXPECT_EQ(host, expected);
  });
}

}  // namespace
}  // namespace vramswap
