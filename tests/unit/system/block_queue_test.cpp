#include "daemon/system/block_queue.hpp"

#include <gtest/gtest.h>

#include "tests/support/fake_tree.hpp"
#include "tests/support/mebibyte.hpp"

namespace vramswap {
namespace {

constexpr std::chrono::milliseconds kRequestTimeout{500};

TEST(BlockQueue, SetsTheSettingsThatTheQueueHas) {
  const FakeTree sys;
  sys.write("nbd3/queue/scheduler", "[mq-deadline] none\n");
  sys.write("nbd3/queue/wbt_lat_usec", "2000\n");
  sys.write("nbd3/queue/nomerges", "2\n");
  sys.write("nbd3/queue/max_sectors_kb", "4096\n");
  sys.write("nbd3/queue/io_timeout", "30000\n");
  EXPECT_EQ(set_queue_for_swap("nbd3", kMiB, kRequestTimeout, sys.path()).value(), kMiB);
  EXPECT_TRUE(sys.read("nbd3/queue/scheduler").starts_with("none"));
  EXPECT_TRUE(sys.read("nbd3/queue/wbt_lat_usec").starts_with("0"));
  EXPECT_TRUE(sys.read("nbd3/queue/nomerges").starts_with("0"));
  EXPECT_TRUE(sys.read("nbd3/queue/max_sectors_kb").starts_with("1024"));
  EXPECT_TRUE(sys.read("nbd3/queue/io_timeout").starts_with("500"));
}

TEST(BlockQueue, LeavesShorterRequestsAlone) {
  const FakeTree sys;
  sys.write("nbd3/queue/max_sectors_kb", "128\n");
  EXPECT_EQ(set_queue_for_swap("nbd3", kMiB, kRequestTimeout, sys.path()).value(), kMiB / 8);
  EXPECT_TRUE(sys.read("nbd3/queue/max_sectors_kb").starts_with("128"));
}

TEST(BlockQueue, RaisesTheLimitOfASinglePage) {
  const FakeTree sys;
  sys.write("nbd3/queue/max_sectors_kb", "4\n");
  EXPECT_EQ(set_queue_for_swap("nbd3", kMiB, kRequestTimeout, sys.path()).value(), kMiB / 8);
  EXPECT_TRUE(sys.read("nbd3/queue/max_sectors_kb").starts_with("128"));
}

TEST(BlockQueue, MergesNothingWhileARequestIsOfOnePage) {
  const FakeTree sys;
  sys.write("nbd3/queue/nomerges", "0\n");
  sys.write("nbd3/queue/max_sectors_kb", "512\n");
  ASSERT_TRUE(set_request_limit("nbd3", 4096, sys.path()));
  EXPECT_TRUE(sys.read("nbd3/queue/nomerges").starts_with("2"));
  EXPECT_TRUE(sys.read("nbd3/queue/max_sectors_kb").starts_with("4"));
  ASSERT_TRUE(set_request_limit("nbd3", kMiB / 2, sys.path()));
  EXPECT_TRUE(sys.read("nbd3/queue/nomerges").starts_with("0"));
  EXPECT_TRUE(sys.read("nbd3/queue/max_sectors_kb").starts_with("512"));
}

TEST(BlockQueue, RestoresTheRequestTimeout) {
  const FakeTree sys;
  sys.write("nbd3/queue/io_timeout", "500\n");
  ASSERT_TRUE(restore_request_timeout("nbd3", sys.path()));
  EXPECT_TRUE(sys.read("nbd3/queue/io_timeout").starts_with("30000"));
}

TEST(BlockQueue, NoQueueAtAllIsAnError) {
  const FakeTree sys;
  const auto result = set_queue_for_swap("nbd3", kMiB, kRequestTimeout, sys.path());
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find("max_sectors_kb"), std::string::npos);
}

TEST(BlockQueue, ReadsTheBackendIdentifier) {
  const FakeTree sys;
  sys.write("nbd3/backend", "vramswap-00c0ffee-1\n");
  EXPECT_EQ(read_backend_identifier("nbd3", sys.path()), "vramswap-00c0ffee-1");
  EXPECT_EQ(read_backend_identifier("nbd4", sys.path()), "");
}

}  // namespace
}  // namespace vramswap
