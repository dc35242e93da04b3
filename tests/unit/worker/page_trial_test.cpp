// Suspects are copied one by one, and the one that cannot be copied is given up in the end.
#include "daemon/worker/process/page_trial.hpp"

#include <gmock/gmock.h>

#include "daemon/worker/store/noting_copier.hpp"
#include "daemon/worker/store/ram_store.hpp"

namespace vramswap {
namespace {

constexpr std::uint64_t kTrialPages = 64;

// Fails a copy of the bad page, or all copies.
class FaultyCopier final : public Copier {
 public:
  static constexpr std::uint64_t kAll = UINT64_MAX;

  FaultyCopier(std::unique_ptr<Copier> copier, std::uint64_t bad)
      : copier_(std::move(copier)), bad_(bad) {}
  Result<void> begin(Direction direction, unsigned slot, std::span<const Copy> batch) override {
    fails_ = std::ranges::any_of(batch, [this](const Copy& copy) {
      return bad_ == kAll || (copy.address <= bad_ && bad_ < copy.address + copy.bytes);
    });
    return copier_->begin(direction, slot, batch);
  }
  Result<void> wait(Direction direction, unsigned slot, std::size_t copies) override {
    auto result = copier_->wait(direction, slot, copies);
    return fails_ ? fail("ordered to fail") : result;
  }

 private:
  const std::unique_ptr<Copier> copier_;
  const std::uint64_t bad_;
  bool fails_ = false;
};

class DeviceWithBadPage final : public StoreDevice {
 public:
  StorePlace place() const override { return ram_->place(); }
  Result<StoreDeviceInfo> info() override { return ram_->info(); }
  Result<std::unique_ptr<Store>> create(std::uint64_t size) override { return ram_->create(size); }
  Result<std::unique_ptr<Store>> import(UniqueFd fd, std::uint64_t size) override {
    return ram_->import(std::move(fd), size);
  }
  Result<std::unique_ptr<Copier>> make_copier(std::span<std::byte> host) override {
    auto copier = ram_->make_copier(host);
    if (!copier) return copier.error();
    return std::make_unique<FaultyCopier>(*std::move(copier), bad_address);
  }

  std::uint64_t bad_address = 0;

 private:
  std::unique_ptr<StoreDevice> ram_ = make_ram_device(HostMemory::swappable);
};

class PageTrialTest : public testing::Test {
 protected:
  PageTrialTest()
      : notes_fd_(CopyNotes::create(1, HostMemory::swappable).value()),
        page_map_(PageMap::create(kTrialPages).value()) {
    segment_.id = 2;
    segment_.store = device_.create(kTrialPages * kPageBytes).value();
    segment_.pages = PageMap::map(page_map_.get(), kTrialPages).value();
    segment_.pages->set(0, kTrialPages, PageState::valid);
  }
  std::uint64_t address(std::uint64_t page) const {
    return segment_.store->address() + page * kPageBytes;
  }
  // The notes as the next worker finds them.
  CopyNotes next_worker() {
    auto notes = CopyNotes::map(notes_fd_.get(), 1).value();
    notes.take_over();
    notes.set_store(segment_.id, segment_.store->address(), segment_.store->size_bytes());
    return notes;
  }
  // A worker reads these pages in one batch, and ends if that fails.
  Result<void> read(CopyNotes& notes, std::uint64_t first, std::uint64_t pages) {
    std::vector<std::byte> host(pages * kPageBytes);
    NotingCopier copier(device_.make_copier(host).value(), notes, 0);
    const Copy batch[] = {{host.data(), address(first), host.size()}};
    auto result = copier.begin(Direction::to_host, 0, batch);
    return result ? copier.wait(Direction::to_host, 0, 1) : result;
  }
  std::uint64_t lost() const { return segment_.pages->count(PageState::lost); }

  DeviceWithBadPage device_;
  const UniqueFd notes_fd_;
  const UniqueFd page_map_;
  ServedSegment segment_;
};

// The whole sequence, from the first death to the last.
TEST_F(PageTrialTest, ThePageThatEndsEachWorkerIsLostAndNoOther) {
  device_.bad_address = address(12);
  unsigned deaths = 0;
  for (; deaths < 20 && lost() == 0; ++deaths) {
    auto notes = next_worker();
    if (!try_suspects(notes, device_, segment_)) continue;
    if (lost() == 0) {
      EXPECT_FALSE(read(notes, 8, 8));
    }
  }
  EXPECT_EQ(deaths, 1 + CopyNotes::kDeathsToTrial + CopyNotes::kFailedTrials);
  EXPECT_EQ(lost(), 1U);
  EXPECT_EQ(segment_.pages->at(12), PageState::lost);
  auto notes = next_worker();
  EXPECT_TRUE(try_suspects(notes, device_, segment_));
  EXPECT_TRUE(read(notes, 8, 4));
}

// The card was ill for a while.
TEST_F(PageTrialTest, APageThatCanBeCopiedAfterAllIsKept) {
  device_.bad_address = address(12);
  for (unsigned death = 0; death < CopyNotes::kDeathsToTrial; ++death) {
    auto notes = next_worker();
    EXPECT_FALSE(read(notes, 8, 8));
  }
  for (unsigned trial = 1; trial < CopyNotes::kFailedTrials; ++trial) {
    auto notes = next_worker();
    const auto tried = try_suspects(notes, device_, segment_);
    ASSERT_FALSE(tried);
    EXPECT_EQ(tried.error().message, "segment 2: page 12 alone: ordered to fail");
  }
  device_.bad_address = 0;
  auto notes = next_worker();
  EXPECT_TRUE(try_suspects(notes, device_, segment_));
  EXPECT_EQ(lost(), 0U);
  EXPECT_THAT(notes.due_for_trial(2), testing::IsEmpty());
}

// A card that hangs, or is ill as a whole, is no evidence against a page.
TEST_F(PageTrialTest, ACardThatCopiesNothingCostsNoPage) {
  device_.bad_address = address(12);
  for (unsigned death = 0; death < CopyNotes::kDeathsToTrial; ++death) {
    auto notes = next_worker();
    EXPECT_FALSE(read(notes, 8, 8));
  }
  device_.bad_address = FaultyCopier::kAll;
  for (unsigned trial = 0; trial < 20; ++trial) {
    auto notes = next_worker();
    EXPECT_FALSE(try_suspects(notes, device_, segment_));
  }
  device_.bad_address = 0;
  auto notes = next_worker();
  EXPECT_TRUE(try_suspects(notes, device_, segment_));
  EXPECT_EQ(lost(), 0U);
}

// It was written or trimmed meanwhile: its old content is gone.
TEST_F(PageTrialTest, APageWithoutContentIsNotTried) {
  device_.bad_address = address(12);
  for (unsigned death = 0; death < CopyNotes::kDeathsToTrial; ++death) {
    auto notes = next_worker();
    EXPECT_FALSE(read(notes, 12, 1));
  }
  segment_.pages->set(12, 1, PageState::empty);
  auto notes = next_worker();
  EXPECT_TRUE(try_suspects(notes, device_, segment_));
  EXPECT_THAT(notes.due_for_trial(2), testing::IsEmpty());
}

}  // namespace
}  // namespace vramswap
