// What the kernel does with swap and memory for the supervisor.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "daemon/supervisor/asio.hpp"
#include "daemon/system/cgroup_room.hpp"
#include "daemon/system/proc.hpp"

namespace vramswap {

// A swapoff(2) under way.
class SwapOff {
 public:
  virtual ~SwapOff() = default;
  // Once. Success: the device is no swap area any more, and its pages are in memory or lost, for
  // the kernel gives up those that it cannot read. An error: it is a swap area as before.
  virtual awaitable<Result<void>> wait() = 0;
  // The kernel ends it at the next page; wait() then fails, unless it was done before.
  virtual void kill() = 0;
};

// Asks for pages ahead of a swapoff, until it has asked for all, or is destroyed.
class SwapReadAhead {
 public:
  virtual ~SwapReadAhead() = default;
};

class SwapCalls {
 public:
  virtual ~SwapCalls() = default;

  // The swap areas. The path of one on an nbd device is "/dev/nbdN", whatever /proc/swaps shows.
  virtual Result<std::vector<SwapArea>> areas() const = 0;
  virtual Result<MemoryInfo> memory() const = 0;
  virtual Result<std::optional<MemoryCommitment>> commitment() const = 0;
  // The control groups that `returning_bytes` of pages, back from swap, would fill beyond a limit.
  virtual awaitable<std::vector<CgroupExcess>> crowded_groups(
      std::uint64_t returning_bytes) const = 0;

  // mkswap(8), label "vramswap-N" for /dev/nbdN.
  virtual awaitable<Result<void>> make_area(std::string device) = 0;
  // swapon(2). `priority` is -1 (the kernel chooses) or 0..32767.
  virtual awaitable<Result<void>> on(std::string device, int priority) = 0;
  virtual Result<std::unique_ptr<SwapOff>> off(std::string device) = 0;
  // Makes a swapoff that is under way faster, and changes nothing else. Nothing: it cannot.
  virtual std::unique_ptr<SwapReadAhead> read_ahead(std::string device) = 0;
  // Reads the page at `offset` (in bytes) from the device itself. ETIMEDOUT: not within `limit`.
  virtual awaitable<Result<void>> read_page(std::string device, std::uint64_t offset,
                                            std::chrono::seconds limit) = 0;

  // Whether the kernel or a program holds the device exclusively. The kernel holds a swap area so,
  // whatever path /proc/swaps shows for it.
  virtual Result<bool> is_held(std::string device) const = 0;
};

}  // namespace vramswap
