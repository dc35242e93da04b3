// The states of a worker, the events that change them, and which event leads to which state.
#pragma once

#include <optional>
#include <string_view>

namespace vramswap {

enum class WorkerState {
  fresh,    // has no store device yet
  serving,  // answers the kernel
  // Holds only the descriptors of memory and sockets; has no GPU context and no I/O threads.
  dozing,
  waking,  // opens its store device again, imports the memory and serves the sockets that it holds
};
inline constexpr int kWorkerStateCount = 4;

enum class WorkerEvent {
  started,    // has a store device and I/O threads
  went_idle,  // no request came for `doze_after`: it executed itself again, and now dozes
  replaced,   // it executed another program, which serves at once
  called,     // while it dozed, the kernel or the supervisor sent it something
  woken,      // it has imported its stores and serves its sockets
};
inline constexpr int kWorkerEventCount = 5;

// The name that status shows.
std::string_view to_string(WorkerState state);

// No value: the event cannot happen in that state. A worker may die in every state.
std::optional<WorkerState> next_state(WorkerState state, WorkerEvent event);

}  // namespace vramswap
