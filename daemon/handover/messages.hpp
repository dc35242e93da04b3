// The messages between supervisor and worker. The worker answers each request of the supervisor
// with one message, in order. It sends ConnectionEnded, StateChanged, LostPagesChanged and
// ContextReserve without a request.
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
#include "daemon/handover/store_place.hpp"
#include "daemon/handover/worker_state.hpp"

namespace vramswap::messages {

// Raise it when the meaning of a message changes, of the data that a worker hands to the program
// that replaces it, or of the page map. Either side refuses another version. It is in version.cpp.
extern const int kVersion;

// The first request. Answer: Started. fds: if `driver_path` is not empty, the file of the CUDA
// driver that the worker must load; if `has_page_kernel`, then also that of the compiled page
// kernel; if `has_copy_notes`, then also the CopyNotes of the slot; if `has_context_reserve`, then
// also the memory of the ContextReserve.
struct Start {
  control::Backend backend = control::Backend::vram;
  std::string gpu;          // selector; empty: the first GPU
  unsigned io_threads = 1;  // connections a device
  // Path of the socket on which the worker listens for the next supervisor after this one has died;
  // empty: the worker does not listen. Each worker gets a path of its own; the description of a
  // pool has the common beginning of the paths of a slot.
  std::string rendezvous = {};
  // The worker dozes after this long without a request; 0: never.
  std::chrono::seconds doze_after{0};
  // If a copy takes longer, the worker regards the GPU as hung and ends itself.
  std::chrono::seconds hang_timeout{10};
  // Where the first worker found the driver; empty: this one looks for it by its name.
  std::string driver_path = {};
  bool has_page_kernel = false;
  bool has_copy_notes = false;
  // The size of a context as the first worker measured it; 0: this worker measures it.
  std::uint64_t context_bytes = 0;
  bool has_context_reserve = false;
  // As in Replace. The answer says nothing of the card then.
  bool leaves_card = false;
};
// Make a new, zeroed store, on the card unless the backend is ram. A worker without a context makes
// one. fds: page map. Answer: Done, with the store's fd.
struct Create {
  std::uint32_t segment = 0;
  std::uint64_t size_bytes = 0;
};
// Import an existing store. fds: page map, which says where the store is, and store. Answer: Done.
// Failed with ESTALE: the memory behind the descriptor is gone.
struct Import {
  std::uint32_t segment = 0;
  std::uint64_t size_bytes = 0;
};
// Make a new, zeroed store for a segment that has one, in the place of one that was made so before.
// A worker without a context makes one if the store is to be on the card. Answer: Done, with the
// store's fd.
struct PrepareMove {
  std::uint32_t segment = 0;
  StoreId store;  // how the page map is to name it
};
// Pause, copy the segment's pages to the store that was prepared, name that one in the page map,
// and serve from it; scrub the old store and release it. Answer: Done. Failed: the prepared store
// is released, and the page map names the old one.
struct FinishMove {
  std::uint32_t segment = 0;
};
// Release the store that was prepared, if there is one. Answer: Done.
struct AbandonMove {
  std::uint32_t segment = 0;
};
// One of a segment's sockets. A segment never reuses an id: the report that a connection ended may
// arrive after its replacement was added.
struct ConnectionName {
  std::uint32_t id = 0;
  unsigned thread = 0;  // the I/O thread that serves it
};
// Serve these sockets. fds: a socket for each connection. Answer: Done.
struct Connect {
  std::uint32_t segment = 0;
  std::vector<ConnectionName> connections;
};
// Close the remaining connections of the segment, scrub its store and release it. Answer: Done.
struct Remove {
  std::uint32_t segment = 0;
};
// Keep this text for the next supervisor, in case this one dies. Answer: Done.
struct Describe {
  std::string text;
};
// Sent by a supervisor that connected to the worker's socket. Answer: Adopted; the first one that
// such a supervisor gets has the CopyNotes as its fd, if there are any.
struct Adopt {};
// Give the supervisor descriptors of the segment. Answer: Done, with its page map and store.
struct HandOver {
  std::uint32_t segment = 0;
};
// Give the supervisor the files of the driver, so that later workers load the same. Answer: Driver.
struct ShareDriver {};
// Execute `program`, or the worker's own if that is empty, in this process and continue with the
// same memory and sockets. Answer: Done, from the new program.
struct Replace {
  std::string program;
  // No store is on the card: the new program makes no context until one is to be there, and nothing
  // stays set aside for a context.
  bool leaves_card = false;
};
// Answer: Stats. No other request has this answer, so the supervisor may send it while it waits for
// another answer, and may stop waiting for it.
struct ReportStats {};
// Asks for a sign of life, at almost no cost. Answer: Alive.
struct Ping {};
using Request =
    std::variant<Start, Create, Import, Connect, Remove, Describe, Adopt, HandOver, Replace,
                 ReportStats, ShareDriver, Ping, PrepareMove, FinishMove, AbandonMove>;

struct Started {
  StoreDeviceInfo device;
};
struct Done {};
// The request had no effect, with one exception: a failed Remove has released the store without
// scrubbing it.
struct Failed {
  std::string message;
  int code = 0;  // the errno that caused it; 0: none did
};
struct ConnectionEnded {
  std::uint32_t segment = 0;
  std::uint32_t connection = 0;  // its id
  ConnectionEnd end = ConnectionEnd::hung_up;
};
struct StateChanged {
  WorkerState state = WorkerState::fresh;
};
// Pages of the segment are lost, because their bytes differ from those written; or the last lost
// page has been written again. The page map says which pages are lost.
struct LostPagesChanged {
  std::uint32_t segment = 0;
};
// VRAM is set aside for the context of the next worker, or of this one after a doze: a full card
// would refuse it. fds: the memory. None: the worker gives it up, because a context needs the room
// now; the memory is free once its last descriptor is closed. A supervisor that has just connected
// gets this message, too.
struct ContextReserve {};
struct Adopted {
  struct Segment {
    std::uint32_t id = 0;
    std::vector<ConnectionName> connections;  // those that are open
  };
  std::string description;  // the text of the last Describe; empty: there was none yet
  WorkerState state = WorkerState::fresh;
  std::vector<Segment> segments;
};
struct Stats {
  control::IoStats io;
};
// The files that the worker has loaded. fds: as in Start; none if the path is empty.
struct Driver {
  std::string path;
  bool has_page_kernel = false;
};
struct Alive {};
using Message = std::variant<Started, Done, Failed, ConnectionEnded, StateChanged, Adopted, Stats,
                             Driver, LostPagesChanged, Alive, ContextReserve>;

std::string encode(const Request& request);
std::string encode(const Message& message);
Result<Request> decode_request(std::string_view text);
Result<Message> decode_message(std::string_view text);

}  // namespace vramswap::messages
