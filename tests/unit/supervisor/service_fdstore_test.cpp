// What the service manager keeps of what it is given.
#include "tests/unit/supervisor/service_fixture.hpp"

namespace vramswap {
namespace {

using std::chrono::minutes;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ServiceFdstoreTest : public ServiceTest {
 protected:
  void take_over() {
    const auto taken =
        machine_.run(service_->take_over(machine_.service_manager.receive_fdstore()));
    ASSERT_TRUE(taken) << taken.error().message;
  }
  // As `systemctl restart` does, while the worker is dead and cannot be replaced.
  void restart_beside_a_dead_worker() {
    machine_.launcher.die_at_start = 1000;
    machine_.launcher.latest().die();
    machine_.settle();
    machine_.service_manager.restarts = true;
    spawn(machine_.io, service_->stop());
    machine_.pass(minutes(1));
  }
};

TEST_F(ServiceFdstoreTest, SaysWhatTheServiceManagerDoesNotKeep) {
  machine_.service_manager.kept_fds = 3;
  up();
  EXPECT_THAT(status(true).notes, ElementsAre(HasSubstr("keeps 3 descriptors, not 4")));
  ask(control::DownRequest{}, true);
  machine_.service_manager.kept_fds = 0;
  up();
  EXPECT_THAT(status(true).notes, ElementsAre(HasSubstr("keeps none of this daemon")));
  ask(control::DownRequest{}, true);
  machine_.service_manager.kept_fds = 4;
  up();
  EXPECT_THAT(status(true).notes, IsEmpty());
}

// It starts a program, and a machine that is short of memory needs that for a worker.
TEST_F(ServiceFdstoreTest, WhatTheServiceManagerKeepsIsAskedWhenTheWorkerServesAgain) {
  machine_.service_manager.kept_fds = 2;
  up();
  const unsigned before = machine_.service_manager.counts;
  EXPECT_GT(before, 0U);
  begin_supervisor();
  machine_.launcher.latest().die();
  machine_.launcher.die_at_start = 1000;
  take_over();
  machine_.pass(minutes(1));
  EXPECT_EQ(status(true).segments.at(0).state, "interrupted");
  EXPECT_EQ(machine_.service_manager.counts, before);
  machine_.launcher.die_at_start = 0;
  machine_.pass(minutes(1));
  EXPECT_EQ(status(true).segments.at(0).state, "active");
  EXPECT_GT(machine_.service_manager.counts, before);
  EXPECT_THAT(status(true).notes, ElementsAre(HasSubstr("not 4")));
}

// The only segment of the second card is gone, so that its worker is not replaced.
TEST_F(ServiceFdstoreTest, IsComparedBesideACardThatNeedsNoWorker) {
  control::UpRequest request;
  request.size = control::Bytes{128 << 20};
  request.segment_size_bytes = 64 << 20;
  request.gpus = {"0", "1"};
  ASSERT_TRUE(std::holds_alternative<control::Status>(ask(request, true)));
  ASSERT_EQ(status(true).segments.size(), 2U);
  end_supervisor();
  machine_.swap.turn_off("/dev/nbd1");
  machine_.nbd.devices.erase(1);
  begin_supervisor();
  take_over();
  machine_.pass(minutes(1));
  ASSERT_EQ(status(true).segments.size(), 1U);
  for (const auto& worker : machine_.launcher.workers) {
    if (worker->is_alive && worker->start.gpu == "1") worker->die();
  }
  begin_supervisor();
  machine_.service_manager.kept_fds = 2;
  take_over();
  machine_.pass(minutes(1));
  EXPECT_EQ(status(true).segments.at(0).state, "active");
  EXPECT_THAT(status(true).notes, ElementsAre(HasSubstr("keeps 2 descriptors")));
}

TEST_F(ServiceFdstoreTest, ARestartWaitsForAWorkerWhoseMemoryNobodyElseKeeps) {
  machine_.service_manager.kept_fds = 3;
  up();
  restart_beside_a_dead_worker();
  EXPECT_FALSE(is_over_);
  machine_.launcher.die_at_start = 0;
  machine_.pass(minutes(1));
  EXPECT_TRUE(is_over_);
}

TEST_F(ServiceFdstoreTest, ARestartDoesNotWaitForAWorkerWhoseMemoryIsKept) {
  machine_.service_manager.kept_fds = 4;
  up();
  restart_beside_a_dead_worker();
  EXPECT_TRUE(is_over_);
}

}  // namespace
}  // namespace vramswap
