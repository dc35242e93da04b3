#include "daemon/supervisor/pool/state_publisher.hpp"

#include <gmock/gmock.h>
#include <sys/resource.h>

#include "daemon/supervisor/pool/pool_parts.hpp"
#include "tests/fake_machine/fake_machine.hpp"

namespace vramswap {
namespace {

using testing::ElementsAre;

class StatePublisherTest : public testing::Test {
 protected:
  // A worker that gets the description: publishing waits for its answer.
  void add_worker() {
    PoolDescription::Device known;
    known.start.rendezvous = "worker-0";
    auto& slot = *parts_.slots.emplace_back(
        std::make_unique<WorkerSlot>(machine_.interfaces, reserve_, publisher_, 0, known));
    EXPECT_TRUE(machine_.run(slot.start()));
  }
  awaitable<bool> publish() {
    co_await publisher_.publish();
    co_return true;
  }
  std::vector<std::string> kept() const {
    std::vector<std::string> names;
    for (const auto& [name, fd] : machine_.service_manager.fdstore) names.push_back(name);
    return names;
  }

  fake::FakeMachine machine_;
  PoolParts parts_;
  RecoveryReserve reserve_{machine_.interfaces, false};
  StatePublisher publisher_{machine_.interfaces, HostMemory::swappable, parts_};
};

// Two workers may come back at the same time.
TEST_F(StatePublisherTest, PublicationsFollowOneAnotherAndLeaveOneDescription) {
  add_worker();
  machine_.run(publish());
  unsigned over = 0;
  for (int i = 0; i < 3; ++i) {
    asio::co_spawn(
        machine_.io,
        [&]() -> awaitable<void> {
          co_await publisher_.publish();
          ++over;
        },
        asio::detached);
  }
  machine_.run_until([&] { return over == 3; });
  EXPECT_THAT(kept(), ElementsAre("pool-4"));
  machine_.run([](StatePublisher& publisher) -> awaitable<bool> {
    co_await publisher.withdraw();
    co_return true;
  }(publisher_));
  EXPECT_THAT(kept(), ElementsAre());
}

TEST_F(StatePublisherTest, AFailedStoreLeavesTheEarlierOneUntilTheNextTime) {
  add_worker();
  machine_.run(publish());
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit none{.rlim_cur = 0, .rlim_max = limit.rlim_max};
  setrlimit(RLIMIT_NOFILE, &none);
  machine_.run(publish());
  setrlimit(RLIMIT_NOFILE, &limit);
  EXPECT_THAT(kept(), ElementsAre("pool-1"));
  machine_.run(publish());
  EXPECT_THAT(kept(), ElementsAre("pool-3"));
}

}  // namespace
}  // namespace vramswap
