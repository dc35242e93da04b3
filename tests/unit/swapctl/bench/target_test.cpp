#include "swapctl/bench/target.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temp_directory.hpp"

namespace vramswap::swapctl {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kHeading = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";

struct TargetTest : testing::Test {
  std::vector<Target> find(const std::string& lines) const {
    const auto swaps = directory.write("swaps", kHeading + lines);
    auto targets = find_targets(swaps, directory / "block");
    EXPECT_TRUE(targets) << targets.error().message;
    return targets ? *std::move(targets) : std::vector<Target>{};
  }
  static std::vector<std::string> names(const std::vector<Target>& targets) {
    std::vector<std::string> list;
    for (const auto& target : targets) list.push_back(target.name);
    return list;
  }

  TempDirectory directory;
};

TEST_F(TargetTest, EveryKindIsNamed) {
  directory.write("block/nbd0/backend", "vramswap-00c0ffee-0\n");
  directory.write("block/nbd1/backend", "vramscratch-00c0ffee-0\n");
  const auto targets = find(
      "/dev/nbd0 partition 1048572 512 1500\n"
      "/dev/nbd1 partition 4 0 0\n"
      "/dev/nbd2 partition 4 0 0\n"
      "/dev/zram0 partition 4 0 100\n"
      "/dev/dm-0 partition 4 0 -2\n"
      "/zram0 file 4 0 -3\n");
  std::vector<std::string> kinds;
  for (const auto& target : targets) kinds.push_back(target.kind);
  EXPECT_THAT(kinds, ElementsAre("vramswap", "nbd", "nbd", "zram", "partition", "file"));
  EXPECT_EQ(targets.at(0).size_bytes, 1048572ULL * 1024);
  EXPECT_EQ(targets.at(0).used_bytes, 512ULL * 1024);
}

TEST_F(TargetTest, PathsAreUnescaped) {
  EXPECT_THAT(names(find("/my\\040swap\\134\\011x file 4 0 -2\n/old\\040(deleted) file 4 0 -3\n")),
              ElementsAre("/my swap\\\tx", "/old (deleted)"));
}

TEST_F(TargetTest, NoSwapIsNoError) {
  EXPECT_THAT(find(""), IsEmpty());
}

TEST_F(TargetTest, AnUnreadableFileIsNamed) {
  const auto targets = find_targets(directory / "none", directory / "block");
  ASSERT_FALSE(targets);
  EXPECT_THAT(targets.error().message, HasSubstr("none: open: ENOENT"));
}

TEST_F(TargetTest, NamesChooseEachOnce) {
  const auto area = directory.write("area", "");
  std::filesystem::create_symlink(area, directory / "link");
  const auto targets = find("/a file 4 0 0\n" + area.string() + " file 4 0 0\n/b file 4 0 0\n");
  const auto chosen =
      choose_targets(targets, {"/b", (directory / "link").string(), "scratch", area.string()});
  ASSERT_TRUE(chosen) << chosen.error().message;
  EXPECT_THAT(names(*chosen), ElementsAre(area.string(), "/b"));
}

TEST_F(TargetTest, ATargetThatIsNoSwapIsRefusedByName) {
  const auto chosen = choose_targets(find("/a file 4 0 0\n"), {"/a", "/dev/sda"});
  ASSERT_FALSE(chosen);
  EXPECT_THAT(chosen.error().message, HasSubstr("'/dev/sda' is not an active swap"));
}

}  // namespace
}  // namespace vramswap::swapctl
