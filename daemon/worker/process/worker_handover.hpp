// The things that a worker hands to the program that replaces it in the same process (exec): its
// memory, its sockets and its channel, as descriptors that stay open. Only the GPU context is lost.
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
#include "daemon/worker/store/driver_files.hpp"

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
    StorePlace place = StorePlace::card;
    UniqueFd page_map;
    UniqueFd store;
    bool awaits_reconnect = false;
    std::vector<Connection> connections;
  };

  WorkerState state = WorkerState::dozing;  // dozing or waking
  bool owes_answer = false;                 // the next program sends the answer to Replace
  messages::Start start;
  std::string description;
  std::chrono::nanoseconds began_at{0};  // by the steady clock, which both programs share
  control::IoStats stats = {};           // of all programs before it
  DriverFiles driver = {};
  UniqueFd channel;          // empty if there is no supervisor
  UniqueFd listener;         // the worker socket; empty if there is none
  UniqueFd copy_notes;       // empty if there are none
  UniqueFd context_reserve;  // empty if there is none
  std::vector<Segment> segments;
};

// exec_with_handover() adds this option to `arguments`. Its value is a descriptor.
inline constexpr const char* kHandoverOption = "--handover-fd";

// Replaces the program of this process by the one behind the descriptor `program`, which reads the
// handover with read_handover(). All other threads end, and all descriptors above stderr that are
// not part of the handover are closed. Returns only if exec failed; the handover is then unchanged.
Error exec_with_handover(const WorkerHandover& handover, int program,
                         const std::vector<std::string>& arguments);
// `fd` is the value of kHandoverOption. Fails on another handover version.
Result<WorkerHandover> read_handover(UniqueFd fd);

}  // namespace vramswap
