// The status that many clients ask for is collected once.
#include <gmock/gmock.h>

#include "daemon/supervisor/service.hpp"
#include "daemon/supervisor/spawn.hpp"
#include "tests/fake_machine/fake_machine.hpp"

namespace vramswap {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class NoSuccessor : public Successor {
 public:
  std::string path() const override { return "/nonexistent"; }
  awaitable<Result<void>> ask_to_take_over(int) override { co_return fail("there is none"); }
  Error become(NamedFds) override { return {"there is none"}; }
};

class FakeSession : public Session {
 public:
  explicit FakeSession(bool is_root) : is_root_(is_root) {}
  bool is_root() const override { return is_root_; }
  void send(const control::Reply& reply) override { replies.push_back(reply); }
  awaitable<void> flush() override { co_return; }
  void watch(std::function<void()>) override {}
  void stop_watching() override {}
  UniqueFd duplicate() override { return {}; }

  std::vector<control::Reply> replies;

 private:
  const bool is_root_;
};

class SharedStatusTest : public testing::Test {
 protected:
  SharedStatusTest() { begin_supervisor(); }

  // One that was there before has died.
  void begin_supervisor() {
    machine_.pass(std::chrono::minutes(1));
    service_.reset();
    service_.emplace(machine_.interfaces, successor_,
                     Service::Options{.ends_with_client = false,
                                      .pool = {.runtime_directory = "/nonexistent",
                                               .device_prefix = "vramswap-",
                                               .default_connections = 2,
                                               .page_map_memory = HostMemory::swappable},
                                      .fds_beside_pool = 1},
                     Service::Exit{.refuse_clients = [] {}, .end = [] {}});
  }

  std::shared_ptr<FakeSession> begin(control::Request request, bool is_root) {
    auto session = std::make_shared<FakeSession>(is_root);
    spawn(machine_.io, service_->handle(std::move(request), session));
    return session;
  }
  control::Reply ask(control::Request request, bool is_root) {
    const auto session = begin(std::move(request), is_root);
    machine_.run_until([&] { return !session->replies.empty(); });
    return session->replies.back();
  }
  control::Status status(bool is_root) {
    return std::get<control::Status>(ask(control::StatusRequest{}, is_root));
  }
  void up() {
    control::UpRequest request;
    request.size = control::Bytes{64 << 20};
    request.backend = control::Backend::ram;
    ASSERT_TRUE(std::holds_alternative<control::Status>(ask(request, true)));
  }
  unsigned collections() { return machine_.launcher.latest().stats_reported; }

  fake::FakeMachine machine_;
  NoSuccessor successor_;
  std::optional<Service> service_;
};

TEST_F(SharedStatusTest, AThousandRequestsInASecondCostFiveCollections) {
  up();
  const unsigned before = collections();
  for (int i = 0; i < 1000; ++i) {
    EXPECT_EQ(status(false).segments.size(), 1U);
    machine_.pass(milliseconds(1));
  }
  EXPECT_EQ(collections() - before, 5U);
}

TEST_F(SharedStatusTest, WhoAsksWhileItIsCollectedWaitsForThat) {
  up();
  machine_.pass(seconds(1));
  machine_.launcher.latest().stop();
  const unsigned before = collections();
  std::vector<std::shared_ptr<FakeSession>> sessions;
  for (int i = 0; i < 30; ++i) sessions.push_back(begin(control::StatusRequest{}, false));
  // The worker does not answer in time: each of them would wait that long by itself.
  machine_.pass(milliseconds(201));
  for (const auto& session : sessions) EXPECT_EQ(session->replies.size(), 1U);
  machine_.launcher.latest().go_on();
  machine_.settle();
  EXPECT_EQ(collections() - before, 1U);
}

TEST_F(SharedStatusTest, RootsIsAlwaysNew) {
  up();
  const std::string device = status(false).segments.at(0).device;
  machine_.swap.set_used(device, 1 << 20);
  EXPECT_EQ(status(false).segments.at(0).used_bytes, 0U);
  EXPECT_EQ(status(true).segments.at(0).used_bytes, 1U << 20);
  machine_.pass(milliseconds(200));
  EXPECT_EQ(status(false).segments.at(0).used_bytes, 1U << 20);
}

TEST_F(SharedStatusTest, UpAndDownAreSeenAtOnceByAll) {
  EXPECT_TRUE(status(false).segments.empty());
  up();
  EXPECT_EQ(status(false).segments.size(), 1U);
  EXPECT_TRUE(std::holds_alternative<control::Done>(ask(control::DownRequest{}, true)));
  EXPECT_TRUE(status(false).segments.empty());
}

TEST_F(SharedStatusTest, SaysWhatTheServiceManagerDoesNotKeep) {
  using testing::ElementsAre;
  using testing::HasSubstr;
  using testing::IsEmpty;
  machine_.service_manager.kept_fds = 3;
  up();
  EXPECT_THAT(status(true).notes, ElementsAre(HasSubstr("keeps 3 descriptors, not 4")));
  ask(control::DownRequest{}, true);
  machine_.service_manager.kept_fds = 0;
  up();
  EXPECT_THAT(status(true).notes, ElementsAre(HasSubstr("keeps no memory")));
  ask(control::DownRequest{}, true);
  machine_.service_manager.kept_fds = 4;
  up();
  EXPECT_THAT(status(true).notes, IsEmpty());
}

// It starts a program, and a machine that is short of memory needs that for a worker.
TEST_F(SharedStatusTest, WhatTheServiceManagerKeepsIsAskedWhenTheWorkerServesAgain) {
  machine_.service_manager.kept_fds = 2;
  up();
  const unsigned before = machine_.service_manager.counts;
  EXPECT_GT(before, 0U);
  begin_supervisor();
  machine_.launcher.latest().die();
  machine_.launcher.die_at_start = 1000;
  const auto taken = machine_.run(service_->take_over(machine_.service_manager.receive_fdstore()));
  ASSERT_TRUE(taken) << taken.error().message;
  machine_.pass(std::chrono::minutes(1));
  EXPECT_EQ(status(true).segments.at(0).state, "interrupted");
  EXPECT_EQ(machine_.service_manager.counts, before);
  machine_.launcher.die_at_start = 0;
  machine_.pass(std::chrono::minutes(1));
  EXPECT_EQ(status(true).segments.at(0).state, "active");
  EXPECT_GT(machine_.service_manager.counts, before);
  EXPECT_THAT(status(true).notes, testing::ElementsAre(testing::HasSubstr("not 4")));
}

TEST_F(SharedStatusTest, AUserMayNotChangeTheSwap) {
  up();
  for (const control::Request& request :
       {control::Request(control::UpRequest{}), control::Request(control::DownRequest{}),
        control::Request(control::ReloadRequest{})}) {
    EXPECT_TRUE(std::holds_alternative<control::Failure>(ask(request, false)));
  }
  EXPECT_EQ(status(true).segments.size(), 1U);
}

}  // namespace
}  // namespace vramswap
