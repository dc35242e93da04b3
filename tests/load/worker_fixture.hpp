// A worker process with one segment of host memory, its connections, and a load for them.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "daemon/handover/page_map.hpp"
#include "tests/load/load_generator.hpp"
#include "tests/load/worker_process.hpp"
#include "tests/support/temp_directory.hpp"

namespace vramswap::load {

inline constexpr std::uint64_t kSegmentBytes = 32 << 20;
inline constexpr unsigned kThreads = 2;

inline std::string test_worker() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / "test_worker";
}

inline std::vector<int> raw(const std::vector<UniqueFd>& fds) {
  std::vector<int> numbers;
  for (const auto& fd : fds) numbers.push_back(fd.get());
  return numbers;
}

inline void expect_nothing_wrong(const LoadResult& result) {
  EXPECT_EQ(result.wrong_words, 0U) << result.summary();
  EXPECT_EQ(result.failed_replies, 0U) << result.summary();
}

inline void expect_clean(const LoadResult& result) {
  expect_nothing_wrong(result);
  EXPECT_GT(result.operations, 0U);
}

// A request lost, or answered twice, ends the generator's connection.
inline void expect_uninterrupted(const LoadResult& result) {
  expect_clean(result);
  EXPECT_EQ(result.ended_connections, 0U) << result.summary();
}

struct WorkerSettings {
  std::string worker_socket = {};
  std::chrono::seconds doze_after{0};
};

class ServedSegment {
 public:
  explicit ServedSegment(const WorkerSettings& settings, LoadOptions load = {.discard_share = 0.05})
      : load_(1, kSegmentBytes, load) {
    page_map_ = PageMap::create(kSegmentBytes / sizeof(Page)).value();
    worker_ = std::make_unique<WorkerProcess>(
        WorkerProcess::spawn({test_worker(), "--unhardened"}).value());
    (void)worker_
        ->start({.backend = control::Backend::ram,
                 .gpu = "",
                 .io_threads = kThreads,
                 .rendezvous = settings.worker_socket,
                 .doze_after = settings.doze_after})
        .value();
    store_ = worker_->create(0, kSegmentBytes, page_map_.get()).value();
    connect();
  }

  void connect() { sockets_ = worker_->connect(0, kThreads).value(); }
  void disconnect() { sockets_.clear(); }
  WorkerProcess& worker() { return *worker_; }
  const std::vector<UniqueFd>& sockets() const { return sockets_; }
  LoadResult run(std::chrono::milliseconds duration) { return load_.run(raw(sockets_), duration); }
  LoadResult verify() { return load_.verify(raw(sockets_)); }
  const UniqueFd& page_map() const { return page_map_; }
  const UniqueFd& store() const { return store_; }

 private:
  UniqueFd page_map_;
  UniqueFd store_;
  std::unique_ptr<WorkerProcess> worker_;
  std::vector<UniqueFd> sockets_;
  LoadGenerator load_;
};

}  // namespace vramswap::load
