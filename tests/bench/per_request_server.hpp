// The published algorithm of a comparable program (nbd-vram), written from its description, as
// fast as that algorithm can be: a thread a connection takes up to 32 queued requests of at most
// 64 KiB each, starts one copy a request, waits for all of them once, and answers each with one
// send for the header and one for the data. A longer request is served alone.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "daemon/worker/store/store.hpp"
#include "tests/bench/server.hpp"
#include "tests/bench/store_access.hpp"

namespace vramswap::bench {

class PerRequestServer final : public Server {
 public:
  static Result<std::unique_ptr<PerRequestServer>> start(StoreAccess& access,
                                                         std::uint64_t segment_bytes);
  ~PerRequestServer() override;

  Result<std::vector<UniqueFd>> connect(unsigned count) override;
  Result<void> disconnect(std::vector<UniqueFd> sockets) override;

 private:
  struct Connection {
    UniqueFd socket;
    std::thread thread;
    Result<void> result;  // settled when the thread has ended
  };

  PerRequestServer(StoreAccess& access, std::unique_ptr<Store> store)
      : access_(access), store_(std::move(store)) {}

  Result<void> join_all();

  StoreAccess& access_;
  std::unique_ptr<Store> store_;
  std::vector<std::unique_ptr<Connection>> connections_;
};

}  // namespace vramswap::bench
