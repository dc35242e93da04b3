// The GPU of a test that never loads CUDA itself: all it knows of it comes from workers.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/unique_fd.hpp"
#include "tests/load/load_generator.hpp"
#include "tests/load/worker_process.hpp"

namespace vramswap::load {

std::uint64_t number_from_environment(const char* name, std::uint64_t otherwise);

// The GPU whose index is 0.
struct TestGpu {
  std::string uuid;
  std::string name;
};
Result<TestGpu> find_gpu();

constexpr unsigned kConnections = 4;
std::uint64_t segment_bytes();

// One segment on that GPU: the descriptors that outlive its workers, and the present one of these.
class TestSegment {
 public:
  explicit TestSegment(std::string uuid);

  // A worker in the place of the last one, over the same memory. Throws where that fails.
  void start_worker(std::chrono::seconds doze_after = std::chrono::seconds(0));
  WorkerProcess& worker() { return *worker_; }
  // The size of a context as the first worker measured it.
  std::uint64_t context_bytes() const { return context_bytes_; }
  std::vector<int> sockets() const;
  // Moves to a new store, as the supervisor has it done. A worker that dies meanwhile is an error;
  // whichever store has the pages then, the next worker gets that one.
  struct MoveTimes {
    double prepare_ms = 0;
    double finish_ms = 0;
  };
  Result<MoveTimes> move_to(StorePlace place);
  StorePlace place() const;
  // Fills each page through the first socket. Returns whether all replies were good.
  bool write_everything();

 private:
  void settle();

  const std::string uuid_;
  UniqueFd page_map_;
  UniqueFd store_;
  UniqueFd next_store_;  // while a move is under way
  std::uint32_t serial_ = 0;
  std::uint64_t context_bytes_ = 0;
  std::unique_ptr<WorkerProcess> worker_;
  std::vector<UniqueFd> sockets_;
};

// "p50=231.5 max=290.1"
std::string p50_and_max(std::vector<double> values);
// On stdout at once, so that it is seen where a test stands.
void say(std::string_view line);

}  // namespace vramswap::load
