// The life of a worker as a table: which event leads from which state to which.
#pragma once

#include <optional>
#include <string_view>

namespace vramswap {

enum class WorkerState {
  fresh,    // has no store device yet
  serving,  // answers the kernel
  // Holds memory and sockets by their descriptors only: no context on the GPU, no I/O threads.
  dozing,
  waking,  // takes its store device again, over the memory and the sockets that it holds
};
inline constexpr int kWorkerStateCount = 4;

enum class WorkerEvent {
  started,    // has a store device and I/O threads
  went_idle,  // no request for the time set: it replaced its own process by one that dozes
  replaced,   // it replaced its own process by another program's, which serves at once
  called,     // while dozing: the kernel, or the supervisor, has something for it
  woken,      // its stores are imported and its sockets served
};
inline constexpr int kWorkerEventCount = 5;

// As status shows it.
std::string_view to_string(WorkerState state);

// Nothing where the event cannot happen in that state. Every state may end in death.
std::optional<WorkerState> next_state(WorkerState state, WorkerEvent event);

}  // namespace vramswap
