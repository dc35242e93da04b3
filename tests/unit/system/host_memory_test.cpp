#include "daemon/system/host_memory.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cerrno>

#include "tests/support/mapping_flags.hpp"

namespace vramswap {
namespace {

TEST(HostMemory, IsMappedWhole) {
  const auto fd = create_host_memory("vramswap-test", 8192, HostMemory::swappable).value();
  const auto memory = map_host_memory("test memory", fd.get(), 8192);
  ASSERT_TRUE(memory) << memory.error().message;
  ASSERT_EQ(memory->size(), 8192U);
  EXPECT_EQ(memory->back(), std::byte{0});
  munmap(memory->data(), memory->size());
}

TEST(HostMemory, IsLeftOutOfCoreDumps) {
  const auto fd = create_host_memory("vramswap-test", 8192, HostMemory::swappable).value();
  const auto memory = map_host_memory("test memory", fd.get(), 8192).value();
  EXPECT_THAT(mapping_flags("vramswap-test"), testing::HasSubstr(" dd "));
  munmap(memory.data(), memory.size());
}

TEST(HostMemory, MemoryThatCannotBeMappedIsNamed) {
  const auto memory = map_host_memory("test memory", -1, 8192);
  ASSERT_FALSE(memory);
  EXPECT_EQ(memory.error().code, EBADF);
  EXPECT_THAT(memory.error().message, testing::HasSubstr("test memory: mmap"));
}

}  // namespace
}  // namespace vramswap
