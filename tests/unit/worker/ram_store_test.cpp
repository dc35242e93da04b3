#include "daemon/worker/store/ram_store.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/mapping_flags.hpp"

namespace vramswap {
namespace {

TEST(RamStore, IsLeftOutOfCoreDumps) {
  const auto device = make_ram_device(HostMemory::swappable);
  const auto store = device->create(1 << 20);
  ASSERT_TRUE(store) << store.error().message;
  EXPECT_THAT(mapping_flags("vramswap-ram-store"), testing::HasSubstr(" dd "));
}

}  // namespace
}  // namespace vramswap
