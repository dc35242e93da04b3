// What the next supervisor must know, and who keeps it for it: the workers keep the description of
// the pool, the service manager keeps that and the descriptors of its memory, and shows in words
// how the pool is.
#pragma once

#include <cstdint>
#include <string>

#include "daemon/supervisor/machine/machine.hpp"
#include "daemon/supervisor/pool/gate.hpp"
#include "daemon/system/host_memory.hpp"

namespace vramswap {

struct PoolParts;
class WorkerProcess;

// The names of the descriptors, in the fd store and across exec. A description's name ends with its
// sequence number; the one that is handed across exec has none.
inline constexpr std::string_view kDescriptionName = "pool";
std::string description_name(std::uint64_t sequence);
// Memory with that text.
Result<UniqueFd> description_file(std::string_view text, HostMemory memory);
std::string page_map_name(std::uint32_t segment);
std::string store_name(std::uint32_t segment, std::uint32_t serial);
bool is_store_of(std::uint32_t segment, std::string_view name);
// Of a store whose content was declared lost: `generation` counts those of the segment, from 1.
std::string lost_store_name(std::uint32_t segment, unsigned generation);
bool is_lost_store_of(std::uint32_t segment, std::string_view name);
// Any of these.
bool is_memory_of(std::uint32_t segment, std::string_view name);

class StatePublisher {
 public:
  // `parts` is read whenever something is published.
  StatePublisher(Machine& machine, HostMemory memory, const PoolParts& parts)
      : machine_(machine), memory_(memory), parts_(parts), publications_(machine.io) {}

  // Of which kind the memory is that outlives its process.
  HostMemory memory() const { return memory_; }

  // Tells the workers that run and the service manager how the pool is now. What fails is logged,
  // and tried again by the next call. One call follows the other.
  awaitable<void> publish();
  // Tells one worker, which has just started.
  awaitable<Result<void>> tell(WorkerProcess& worker) const;
  // The pool is down: the service manager is to keep nothing.
  awaitable<void> withdraw();
  // The number of the description that an earlier supervisor published last.
  void continue_from(std::uint64_t sequence);

  // The descriptors of a segment's memory that there are, for the case that supervisor and worker
  // die together.
  void push_page_map(std::uint32_t segment, const UniqueFd& page_map) const;
  void remove_page_map(std::uint32_t segment) const;
  void push_store(std::uint32_t segment, std::uint32_t serial, const UniqueFd& store) const;
  void remove_store(std::uint32_t segment, std::uint32_t serial) const;
  // The content of a store was declared lost: its descriptor stays there, under that name.
  void keep_lost_store(std::uint32_t segment, std::uint32_t serial, const std::string& name,
                       const UniqueFd& store) const;
  void remove_lost_store(const std::string& name) const;

  // Tells the service manager in words how the pool is now, unless that is what it was told last.
  // To be called whenever it may have changed.
  void show();
  // Has it show `note` instead, unless the pool is being taken down; empty: no more.
  void show_note(std::string note);

  // All descriptors that the next program is to inherit, this one's copies.
  Result<NamedFds> handover_fds() const;

 private:
  Result<void> store();
  std::string text() const;

  Machine& machine_;
  const HostMemory memory_;
  const PoolParts& parts_;
  std::uint64_t sequence_ = 0;  // of the description published last
  UniqueFd description_;        // which is also here
  std::string name_;            // of the one in the fd store; empty: there is none
  Gate publications_;           // one at a time
  std::string note_;
  std::string shown_;  // what the service manager was told last; empty: nothing
};

}  // namespace vramswap
