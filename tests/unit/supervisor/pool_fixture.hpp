// A pool on a fake machine.
#pragma once

#include <gmock/gmock.h>

#include <memory>

#include "daemon/base/page_size.hpp"
#include "daemon/handover/page_map.hpp"
#include "daemon/supervisor/pool/pool.hpp"
#include "tests/fake_machine/fake_machine.hpp"

namespace vramswap {

class PoolTest : public testing::Test {
 protected:
  static constexpr std::uint64_t kSegmentBytes = 64 << 20;
  static constexpr unsigned kConnections = 2;

  PoolTest() { begin_supervisor(); }

  static PoolOptions options() {
    return {.runtime_directory = "/nonexistent",
            .device_prefix = "vramswap-",
            .default_connections = kConnections,
            .page_map_memory = HostMemory::swappable};
  }
  // A supervisor that knows nothing; one that was there before has died.
  void begin_supervisor(PoolOptions with = options()) {
    end_supervisor();
    pool_ = std::make_unique<Pool>(machine_.interfaces, std::move(with));
  }

  // Without a word to anybody; all that it had begun is over.
  void end_supervisor() {
    machine_.pass(std::chrono::minutes(1));
    pool_.reset();
    machine_.memory_reserve.set_size(0);  // it goes with its process
    machine_.memory_reserve.release();
  }

  static control::UpRequest request(unsigned segments) {
    control::UpRequest request;
    request.size = control::Bytes{segments * kSegmentBytes};
    request.backend = control::Backend::ram;
    request.segment_size_bytes = kSegmentBytes;
    return request;
  }
  Result<void> up(unsigned segments = 2) { return machine_.run(pool_->up(request(segments))); }
  Result<void> down(bool force = false) {
    return machine_.run(pool_->down(force, [](const control::Progress&) {}));
  }
  NamedFds fdstore() { return machine_.service_manager.receive_fdstore(); }
  Result<void> adopt(NamedFds inherited = {}) {
    auto adopted = machine_.run(pool_->adopt(std::move(inherited)));
    machine_.pass(std::chrono::seconds(1));
    return adopted;
  }

  std::vector<std::string> states() const {
    std::vector<std::string> list;
    const auto segments = pool_->segments().value();
    for (const auto& segment : segments) list.push_back(segment.state);
    return list;
  }
  control::WorkerStatus worker_status() const { return pool_->workers().at(0); }
  unsigned living_workers() const {
    unsigned count = 0;
    for (const auto& worker : machine_.launcher.workers) count += worker->is_alive;
    return count;
  }
  void kill_worker() {
    machine_.launcher.latest().die();
    machine_.settle();
  }
  PageMap pages(std::uint32_t segment) {
    const auto& held = machine_.launcher.latest().segments.at(segment);
    return PageMap::map(held.page_map.get(), kSegmentBytes / kPageBytes).value();
  }
  // Another program disconnects the segment's device: each connection ends by itself.
  void disconnect_by_others(std::uint32_t segment) {
    machine_.nbd.devices.at(segment) = {};
    auto& worker = machine_.launcher.latest();
    worker.segments.at(segment).connections.clear();
    for (const std::uint32_t connection : {1U, 2U}) {
      worker.tell(messages::ConnectionEnded{segment, connection, ConnectionEnd::disconnected});
    }
    machine_.pass(std::chrono::seconds(1));
  }
  // Long enough for a worker to be replaced and its connections to be restored.
  void recover() { machine_.pass(std::chrono::seconds(1)); }

  // Runs until this step is taken, and no further.
  void run_until_step(const std::string& step) {
    while (machine_.steps.names().empty() || machine_.steps.names().back() != step) {
      machine_.io.restart();
      if (machine_.io.poll_one() > 0) continue;
      ASSERT_TRUE(machine_.clock.jump()) << step;
    }
  }

  // `kept` descriptors of stores whose content was lost are there beside the others.
  void expect_all_up(unsigned segments, unsigned kept = 0) const {
    EXPECT_EQ(states(), std::vector<std::string>(segments, "active"));
    EXPECT_EQ(machine_.nbd.devices.size(), segments);
    EXPECT_EQ(living_workers(), 1U);
    EXPECT_NE(worker_status().state, "dead");
    EXPECT_TRUE(worker_status().problem.empty()) << worker_status().problem;
    for (const auto& [index, device] : machine_.nbd.devices) {
      EXPECT_EQ(device.sockets.size(), kConnections);
      EXPECT_TRUE(machine_.swap.is_on(device_path(index)));
    }
    EXPECT_EQ(machine_.service_manager.fdstore.size(), 1 + 2 * segments + kept);
  }
  void expect_nothing_left() const {
    EXPECT_FALSE(pool_->is_up());
    EXPECT_FALSE(pool_->is_busy());
    EXPECT_TRUE(machine_.nbd.devices.empty());
    EXPECT_TRUE(machine_.swap.areas()->empty());
    EXPECT_EQ(living_workers(), 0U);
    EXPECT_TRUE(machine_.service_manager.fdstore.empty());
  }

  fake::FakeMachine machine_;
  std::unique_ptr<Pool> pool_;
};

}  // namespace vramswap
