#include "daemon/base/directory.hpp"

#include <gmock/gmock.h>

#include <cerrno>

#include "tests/support/fake_tree.hpp"

namespace vramswap {
namespace {

TEST(Directory, NamesOfAllEntries) {
  const FakeTree tree;
  tree.write("one", "");
  tree.write("two/three", "");
  EXPECT_THAT(list_directory(tree.path()).value(), testing::UnorderedElementsAre("one", "two"));
}

TEST(Directory, NamesOfDirectories) {
  const FakeTree tree;
  tree.write("one", "");
  tree.write("two/three", "");
  std::filesystem::create_directory_symlink("two", tree.path("link"));
  EXPECT_THAT(list_subdirectories(tree.path()).value(), testing::ElementsAre("two"));
  EXPECT_EQ(list_subdirectories(tree.path("missing")).error().code, ENOENT);
}

TEST(Directory, WhatCannotBeReadIsAnError) {
  const FakeTree tree;
  EXPECT_EQ(list_directory(tree.path("missing")).error().code, ENOENT);
  tree.write("file", "");
  EXPECT_EQ(list_directory(tree.path("file")).error().code, ENOTDIR);
}

}  // namespace
}  // namespace vramswap
