// Where a segment's bytes are: VRAM, or host memory. A worker has one StoreDevice; it makes the
// stores, one a segment, and a Copier for each I/O thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "daemon/base/error.hpp"
#include "daemon/base/unique_fd.hpp"
#include "daemon/handover/store_device_info.hpp"

namespace vramswap {

// The bytes of one segment. They live as long as some process holds the exported fd.
class Store {
 public:
  virtual ~Store() = default;
  // Of the first byte, in the device's address space.
  virtual std::uint64_t address() const = 0;
  virtual std::uint64_t size_bytes() const = 0;
  virtual Result<UniqueFd> export_fd() = 0;
  // Overwrites everything with zeros; returns when that is done.
  virtual Result<void> scrub() = 0;
};

// A piece of a batch, between host staging memory and a store.
struct Copy {
  std::byte* host;        // inside the buffer the Copier was made with
  std::uint64_t address;  // Store::address() + offset
  std::size_t bytes;
};

enum class Direction { to_host, from_host };

// One I/O thread's way into the stores. Allocates nothing unless it fails. After a failure the
// content of the target is undefined.
class Copier {
 public:
  // Batches under way at the same time, numbered from 0.
  static constexpr unsigned kSlots = 2;
  // Pages of one batch that go in one direction, and so pieces, too, which are whole pages.
  static constexpr std::size_t kMaxPages = 512;

  virtual ~Copier() = default;
  // Begins to copy; `batch` may go afterwards, the memory it names stays as it is until wait().
  // What is begun in both directions, or in both slots, is in no order: its targets must not
  // overlap.
  virtual Result<void> begin(Direction direction, unsigned slot, std::span<const Copy> batch) = 0;
  // Returns when the first `copies` of the batch are where they belong. Each begin() is followed by
  // one of these for all of them, in the end.
  virtual Result<void> wait(Direction direction, unsigned slot, std::size_t copies) = 0;
};

class StoreDevice {
 public:
  virtual ~StoreDevice() = default;
  virtual Result<StoreDeviceInfo> info() = 0;
  // Zeroed. `size_bytes` is a multiple of the granularity.
  virtual Result<std::unique_ptr<Store>> create(std::uint64_t size_bytes) = 0;
  // The store behind an exported fd, with its bytes as they are. ESTALE: the fd has no store behind
  // it any more, as far as can be told.
  virtual Result<std::unique_ptr<Store>> import(UniqueFd fd, std::uint64_t size_bytes) = 0;
  // Called in the thread that will use it. `host` outlives the Copier.
  virtual Result<std::unique_ptr<Copier>> make_copier(std::span<std::byte> host) = 0;
};

}  // namespace vramswap
