#include "daemon/system/oom_killer.hpp"

#include <gtest/gtest.h>

#include <cerrno>

#include "tests/support/fake_tree.hpp"

namespace vramswap {
namespace {

TEST(OomKiller, IsCalledByTheKernelsTrigger) {
  const FakeTree tree;
  tree.write("sysrq-trigger", "");
  ASSERT_TRUE(call_oom_killer(tree.path("sysrq-trigger")));
  EXPECT_EQ(tree.read("sysrq-trigger"), "f");
}

TEST(OomKiller, AKernelWithoutItIsAnError) {
  const FakeTree tree;
  EXPECT_EQ(call_oom_killer(tree.path("sysrq-trigger")).error().code, ENOENT);
}

}  // namespace
}  // namespace vramswap
