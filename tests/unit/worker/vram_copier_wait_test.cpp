// What wait() waits for, and which call reports that a copy has failed.
#include <gmock/gmock.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "tests/unit/cuda/processes.hpp"
#include "tests/unit/worker/vram_copier_fixture.hpp"

namespace vramswap {
namespace {

using testing::HasSubstr;

// A driver with all of it, and two that have less.
struct Drivers {
  const char* name;
  bool kernel;
  std::vector<std::string> missing;
};

class VramCopierSlotTest : public VramCopierTest, public testing::WithParamInterface<Drivers> {};

INSTANTIATE_TEST_SUITE_P(
    , VramCopierSlotTest,
    testing::Values(Drivers{"Kernel", true, {}}, Drivers{"NoKernel", false, {}},
                    Drivers{"Cuda11_4", false, {"cuMemcpyBatchAsync", "cuStreamWriteValue32_v2"}}),
    [](const auto& each) { return each.param.name; });

TEST_P(VramCopierSlotTest, BothSlotsAndDirectionsAtOnce) {
  ASSERT_NO_FATAL_FAILURE(open_device(GetParam().kernel, GetParam().missing));
  Lane lane(*this);
  ASSERT_TRUE(lane.copier);
  fill(lane.host);
  fill(vram());
  Bytes host = copy_of(lane.host);
  Bytes device = copy_of(vram());
  // Extents, one extent, long extents; no two overlap.
  struct {
    Direction direction;
    unsigned slot;
    Extents extents;
  } const all[] = {{Direction::to_host, 0, scattered(20, 2, 0, 0)},
                   {Direction::from_host, 1, scattered(1, 1, 100, 200)},
                   {Direction::from_host, 0, scattered(8, 16, 200, 300)},
                   {Direction::to_host, 1, scattered(500, 1, 400, 500)}};
  for (int round = 0; round < 3; ++round) {
    for (const auto& each : all) {
      apply(each.direction, each.extents, host, device);
      const auto begun = lane.copier->begin(each.direction, each.slot, copies(lane, each.extents));
      ASSERT_TRUE(begun) << begun.error().message;
    }
    EXPECT_EQ(shared_.busy, 1U);
    for (const std::size_t i : {2, 0, 3, 1}) {
      const auto done = lane.copier->wait(all[i].direction, all[i].slot, all[i].extents.size());
      ASSERT_TRUE(done) << done.error().message;
    }
    EXPECT_TRUE(is_same(lane.host, host));
    EXPECT_TRUE(is_same(vram(), device));
    EXPECT_EQ(shared_.busy, 0U);
    fill(lane.host);
    host.assign(lane.host.begin(), lane.host.end());
  }
}

TEST_P(VramCopierSlotTest, WaitsForTheFirstCopiesAndThenForAll) {
  ASSERT_NO_FATAL_FAILURE(open_device(GetParam().kernel, GetParam().missing));
  Lane lane(*this);
  ASSERT_TRUE(lane.copier);
  fill(vram());
  const Extents extents = scattered(50, 3);
  const auto batch = copies(lane, extents);
  ASSERT_TRUE(lane.copier->begin(Direction::to_host, 0, batch));
  for (const std::size_t first : {1, 2, 49, 50}) {
    EXPECT_EQ(shared_.busy, 1U);
    const auto done = lane.copier->wait(Direction::to_host, 0, first);
    ASSERT_TRUE(done) << done.error().message;
    for (const Copy& copy : std::span(batch).first(first)) {
      EXPECT_EQ(std::memcmp(copy.host, reinterpret_cast<const void*>(copy.address), copy.bytes), 0);
    }
  }
  EXPECT_EQ(shared_.busy, 0U);
}

// The kernel stops at a page that it cannot copy, and says no word of it and of those behind it.
class VramCopierWaitTest : public VramCopierTest,
                           public testing::WithParamInterface<std::size_t> {};

INSTANTIATE_TEST_SUITE_P(BadCopy, VramCopierWaitTest, testing::Values(1, 2, 100, 159, 160, 165),
                         testing::PrintToStringParamName());

TEST_P(VramCopierWaitTest, WaitsForTheCopiesAskedForAndNoMore) {
  for (const bool is_its_first_page : {true, false}) {
    test::in_child([&] {
      ASSERT_NO_FATAL_FAILURE(open_device());
      Lane lane(*this);
      ASSERT_TRUE(lane.copier);
      // A launch takes 160 of them, and none works after that of the bad one.
      auto batch = copies(lane, scattered(GetParam() < 160 ? 160 : 166, 3));
      Copy& bad = batch[GetParam()];
      if (is_its_first_page) {
        bad.host += 4;
      } else {
        bad.address = memory_->device_pointer() + (kVramPages - 2) * kPage;
      }
      const auto begun = lane.copier->begin(Direction::to_host, 0, batch);
      ASSERT_TRUE(begun) << begun.error().message;
      const auto before = lane.copier->wait(Direction::to_host, 0, GetParam());
      EXPECT_TRUE(before) << before.error().message;
      const auto with = lane.copier->wait(Direction::to_host, 0, GetParam() + 1);
      ASSERT_FALSE(with);
      EXPECT_EQ(with.error().message,
                "GPU 0000:0a:00.0: cuStreamQuery: CUDA_ERROR_ILLEGAL_ADDRESS (700)");
    });
  }
}

// How often the thread has slept.
std::size_t voluntary_switches(pid_t thread) {
  const std::string name = "voluntary_ctxt_switches:";
  std::ifstream status("/proc/self/task/" + std::to_string(thread) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name)) return std::stoul(line.substr(name.size()));
  }
  return 0;
}

// A thread that spun, or waited inside the driver, would sleep once at most.
TEST_P(VramCopierSlotTest, ACopyThatHangsIsWaitedForInShortSleeps) {
  setenv("FAKE_CUDA_AT_COPY", "1=hang", 1);
  test::Child child([&] {
    ASSERT_NO_FATAL_FAILURE(open_device(GetParam().kernel, GetParam().missing));
    std::atomic<pid_t> waiting = 0;
    std::thread([&] {
      ASSERT_TRUE(context_->make_current());
      Lane lane(*this);
      ASSERT_TRUE(lane.copier);
      const auto begun = lane.copier->begin(Direction::to_host, 0, copies(lane, scattered(20, 2)));
      EXPECT_TRUE(begun) << begun.error().message;
      waiting = gettid();
      (void)lane.copier->wait(Direction::to_host, 0, 20);
      ADD_FAILURE() << "a copy that hangs has ended";
    }).detach();
    while (voluntary_switches(waiting) < 200) usleep(1000);
    _exit(testing::Test::HasFailure() ? 1 : 0);
  });
  EXPECT_EQ(child.wait(), 0);
}

// The third copy fails, whichever call it is part of.
TEST_F(VramCopierTest, ReportsACopyThatFails) {
  const struct {
    bool kernel;
    Names missing;
    std::size_t extents, pages;
    const char* message;
  } ways[] = {{true, {}, 8, 1, "cuLaunchKernel for 8 pages: CUDA_ERROR_ILLEGAL_ADDRESS (700)"},
              {true, {}, 8, 16, "cuStreamWriteValue32: CUDA_ERROR_ILLEGAL_ADDRESS (700)"},
              {false, {}, 8, 1, "cuStreamWriteValue32: CUDA_ERROR_ILLEGAL_ADDRESS (700)"},
              {false,
               {"cuMemcpyBatchAsync", "cuStreamWriteValue32_v2"},
               8,
               1,
               "cuStreamQuery: CUDA_ERROR_ILLEGAL_ADDRESS (700)"}};
  setenv("FAKE_CUDA_AT_COPY", "3=700", 1);
  for (const auto& way : ways) {
    std::filesystem::remove(directory() / "copies");
    test::in_child([&] {
      ASSERT_NO_FATAL_FAILURE(open_device(way.kernel, way.missing));
      Lane lane(*this);
      ASSERT_TRUE(lane.copier);
      auto result = lane.copier->begin(Direction::from_host, 0,
                                       copies(lane, scattered(way.extents, way.pages)));
      if (result) result = lane.copier->wait(Direction::from_host, 0, way.extents);
      ASSERT_FALSE(result);
      EXPECT_EQ(result.error().message, std::string("GPU 0000:0a:00.0: ") + way.message);
    });
  }
}

TEST_F(VramCopierTest, ReportsACallThatFails) {
  setenv("FAKE_CUDA_FAIL", "cuMemcpyBatchAsync=1,cuMemcpyDtoHAsync_v2=1", 1);
  ASSERT_NO_FATAL_FAILURE(open_device(false));
  Lane lane(*this);
  ASSERT_TRUE(lane.copier);
  const auto batch = lane.copier->begin(Direction::to_host, 0, copies(lane, scattered(2)));
  ASSERT_FALSE(batch);
  EXPECT_THAT(batch.error().message, HasSubstr("cuMemcpyBatchAsync of 2: CUDA_ERROR_INVALID"));
  const auto one = lane.copier->begin(Direction::to_host, 0, copies(lane, scattered(1)));
  ASSERT_FALSE(one);
  EXPECT_THAT(one.error().message, HasSubstr("cuMemcpyDtoHAsync 4096 bytes from 0x"));
}

}  // namespace
}  // namespace vramswap
