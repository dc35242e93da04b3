// A worker as a whole, in this process.
#include "daemon/worker/process/worker.hpp"

#include <gtest/gtest.h>

#include <filesystem>

#include "daemon/handover/channel.hpp"
#include "daemon/handover/messages.hpp"
#include "tests/support/temp_directory.hpp"

namespace vramswap {
namespace {

// A machine without memory may delay the start of a worker for long, and another one serves by
// then.
TEST(Worker, ThatComesAfterItsSupervisorsDeathDoesNotStart) {
  const TempDirectory directory;
  const std::string socket = directory / "worker-0";
  auto channel = make_channel();
  ASSERT_TRUE(channel);
  messages::Start start;
  start.backend = control::Backend::ram;
  start.rendezvous = socket;
  ASSERT_TRUE(send_packet(channel->first.get(), encode(messages::Request(start))));
  channel->first.reset();
  EXPECT_EQ(run_worker(channel->second.release(), -1, {.hardened = false}), 0);
  EXPECT_FALSE(std::filesystem::exists(socket));
}

}  // namespace
}  // namespace vramswap
