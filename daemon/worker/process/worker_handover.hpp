// What a worker hands to the program that takes its place in the same process (exec): memory,
// sockets and its channel, by descriptors that stay open. So the GPU context goes, and nothing
// else.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/base/unique_fd.hpp"
#include "daemon/control/io_stats.hpp"
#include "daemon/handover/messages.hpp"

namespace vramswap {

struct WorkerHandover {
  struct Connection {
    std::uint32_t id;
    unsigned thread;
    UniqueFd socket;
  };
  struct Segment {
    std::uint32_t id = 0;
    std::uint64_t size_bytes = 0;
    UniqueFd page_map;
    UniqueFd store;
    bool awaits_reconnect = false;
    std::vector<Connection> connections;
  };

  WorkerState state = WorkerState::dozing;  // or waking
  bool owes_answer = false;                 // to Replace
  messages::Start start;
  std::string description;
  std::chrono::nanoseconds began_at{0};  // by the steady clock, which all programs share
  control::IoStats stats = {};           // of all before it
  UniqueFd channel;                      // empty: no supervisor
  UniqueFd listener;                     // empty: no rendezvous
  std::vector<Segment> segments;
};

// The option that `exec_with_handover` adds to `arguments`, and its value: a descriptor.
inline constexpr const char* kHandoverOption = "--handover-fd";

// Replaces this process by `program`, which finds the image with `read_handover`. Everything else
// that is open is closed, all other threads end. Returns only if that failed; the image is then as
// it was.
Error exec_with_handover(const WorkerHandover& image, const std::string& program,
                         const std::vector<std::string>& arguments);
Result<WorkerHandover> read_handover(UniqueFd fd);

}  // namespace vramswap
