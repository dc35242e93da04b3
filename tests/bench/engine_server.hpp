// The daemon's own I/O threads, serving one segment in this process.
#pragma once

#include <memory>
#include <vector>

#include "daemon/worker/io/io_thread.hpp"
#include "daemon/worker/io/served_segment.hpp"
#include "tests/bench/server.hpp"

namespace vramswap::bench {

struct EngineSettings {
  std::uint64_t segment_bytes = 1 << 30;
  unsigned threads = 1;  // the most connections at a time
  bool realtime = false;
};

class EngineServer final : public Server {
 public:
  static Result<std::unique_ptr<EngineServer>> start(StoreDevice& device,
                                                     const EngineSettings& settings);

  Result<std::vector<UniqueFd>> connect(unsigned count) override;
  Result<void> disconnect(std::vector<UniqueFd> sockets) override;

 private:
  EngineServer() = default;

  UniqueFd report_read_;
  UniqueFd report_write_;
  ServedSegment segment_;
  std::vector<std::unique_ptr<IoThread>> threads_;  // they use all of the above
};

}  // namespace vramswap::bench
