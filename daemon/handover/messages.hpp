// What supervisor and worker say to each other. The supervisor asks, the worker answers each
// request with one message, in order; ConnectionEnded and StateChanged come unasked.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/control/io_stats.hpp"
#include "daemon/control/protocol.hpp"
#include "daemon/handover/connection_end.hpp"
#include "daemon/handover/store_device_info.hpp"
#include "daemon/handover/worker_state.hpp"

namespace vramswap::messages {

// Raised when a message, or what a worker hands to the program that replaces it, changes its
// meaning; either side refuses another version.
inline constexpr int kVersion = 4;

// The first request. Answer: Started.
struct Start {
  control::Backend backend = control::Backend::vram;
  std::string gpu;          // selector; empty: the first GPU
  unsigned io_threads = 1;  // connections a device
  // Where it listens for a supervisor that follows a dead one; empty: nowhere.
  std::string rendezvous = {};
  std::chrono::seconds doze_after{0};  // without a request; 0: never
  // A copy that takes longer hangs for good, and the worker ends itself.
  std::chrono::seconds hang_timeout{10};
};
// A new, zeroed store. fds: page map. Answer: Done, with the store's fd.
struct Create {
  std::uint32_t segment = 0;
  std::uint64_t size_bytes = 0;
};
// A store that exists already. fds: page map, store. Answer: Done. Failed with ESTALE: there is
// nothing behind the descriptor any more.
struct Import {
  std::uint32_t segment = 0;
  std::uint64_t size_bytes = 0;
};
// One of a segment's sockets. Never two of a segment have the same id, one after another neither: a
// report of a connection's end may come when its successor is there already.
struct ConnectionName {
  std::uint32_t id = 0;
  unsigned thread = 0;  // the I/O thread that serves it
};
// Serve these sockets. fds: a socket for each connection. Answer: Done.
struct Connect {
  std::uint32_t segment = 0;
  std::vector<ConnectionName> connections;
};
// Close what is left of its connections, scrub the store and release it. Answer: Done.
struct Remove {
  std::uint32_t segment = 0;
};
// Keep this text for the supervisor that follows a dead one. Answer: Done.
struct Describe {
  std::string text;
};
// From a supervisor that came by the rendezvous. Answer: Adopted.
struct Adopt {};
// Answer: Done, with the segment's page map and store.
struct HandOver {
  std::uint32_t segment = 0;
};
// Become `program`, over the same memory and the same sockets. Answer: Done, from the new program.
struct Replace {
  std::string program;
};
// Answer: Stats, which nothing else is answered with: the supervisor may ask while it waits for
// another answer, and give up waiting.
struct ReportStats {};
using Request = std::variant<Start, Create, Import, Connect, Remove, Describe, Adopt, HandOver,
                             Replace, ReportStats>;

struct Started {
  StoreDeviceInfo device;
};
struct Done {};
// The request had no effect, except that Remove has released the store, unscrubbed.
struct Failed {
  std::string message;
  int code = 0;  // the errno behind it; 0 where there is none
};
struct ConnectionEnded {
  std::uint32_t segment = 0;
  std::uint32_t connection = 0;  // its id
  ConnectionEnd end = ConnectionEnd::hung_up;
};
struct StateChanged {
  WorkerState state = WorkerState::fresh;
};
struct Adopted {
  struct Segment {
    std::uint32_t id = 0;
    std::vector<ConnectionName> connections;  // those that are open
  };
  std::string description;  // what Describe gave last; empty: nothing yet
  WorkerState state = WorkerState::fresh;
  std::vector<Segment> segments;
};
struct Stats {
  control::IoStats io;
};
using Message = std::variant<Started, Done, Failed, ConnectionEnded, StateChanged, Adopted, Stats>;

std::string encode(const Request& request);
std::string encode(const Message& message);
Result<Request> decode_request(std::string_view text);
Result<Message> decode_message(std::string_view text);

}  // namespace vramswap::messages
