#include "daemon/system/module_advice.hpp"

#include <gmock/gmock.h>

#include "tests/support/fake_tree.hpp"

namespace vramswap {
namespace {

TEST(ModuleAdvice, DependsOnTheReason) {
  const FakeTree tree;
  tree.write("modules/modules.dep", "");
  const std::string there = tree.path("modules");
  EXPECT_THAT(module_advice("modprobe nbd: exit status 1: FATAL: Module nbd not found", there),
              testing::HasSubstr("extra modules"));
  EXPECT_THAT(
      module_advice("modprobe nbd: exit status 1: could not insert 'nbd': Key was rejected by "
                    "service",
                    there),
      testing::HasSubstr("secure boot"));
  EXPECT_THAT(module_advice("modprobe nbd: exit status 1", tree.path("gone")),
              testing::HasSubstr("is missing: reboot"));
}

}  // namespace
}  // namespace vramswap
