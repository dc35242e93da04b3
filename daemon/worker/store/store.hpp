// Where the bytes of a segment are: in VRAM or in host memory. A StoreDevice creates a Store for a
// segment and a Copier for an I/O thread. A worker has one for host memory and, unless all its
// segments are there, one for its card.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "daemon/base/error.hpp"
#include "daemon/base/unique_fd.hpp"
#include "daemon/handover/store_device_info.hpp"
#include "daemon/handover/store_place.hpp"

namespace vramswap {

// The bytes of one segment. They exist as long as some process holds the exported fd.
class Store {
 public:
  virtual ~Store() = default;
  // The address of the first byte, in the address space of the device.
  virtual std::uint64_t address() const = 0;
  virtual std::uint64_t size_bytes() const = 0;
  virtual StorePlace place() const = 0;
  virtual Result<UniqueFd> export_fd() = 0;
  // Overwrites the whole store with zeros, and returns when that is done.
  virtual Result<void> scrub() = 0;
};

// One copy of a batch, between host staging memory and a store.
struct Copy {
  std::byte* host;        // inside the buffer that the Copier was created with
  std::uint64_t address;  // Store::address() + offset
  std::size_t bytes;
};

enum class Direction { to_host, from_host };

// Copies for one I/O thread. Allocates nothing unless it fails. After a failure the content of the
// target is undefined.
class Copier {
 public:
  // Batches that may be under way at the same time. Slots are numbered from 0.
  static constexpr unsigned kSlots = 2;
  // Maximum pages in a batch, per direction. It also limits the copies, because a copy is at least
  // one page.
  static constexpr std::size_t kMaxPages = 512;

  virtual ~Copier() = default;
  // Begins to copy. `batch` itself is no longer needed afterwards, but the memory that it names
  // must stay unchanged until wait(). Batches in different directions or slots have no order, so
  // their targets must not overlap.
  virtual Result<void> begin(Direction direction, unsigned slot, std::span<const Copy> batch) = 0;
  // Returns when the first `copies` copies of the batch are done. After each begin(), the last call
  // must wait for all copies of the batch.
  virtual Result<void> wait(Direction direction, unsigned slot, std::size_t copies) = 0;
};

class StoreDevice {
 public:
  virtual ~StoreDevice() = default;
  virtual StorePlace place() const = 0;
  virtual Result<StoreDeviceInfo> info() = 0;
  // Returns a zeroed store. `size_bytes` must be a multiple of the granularity.
  virtual Result<std::unique_ptr<Store>> create(std::uint64_t size_bytes) = 0;
  // Returns the store behind an exported fd, with its content. The error code ESTALE means that the
  // fd holds no store any more as far as the device can tell: it fails before and after a fresh
  // store was made and imported.
  virtual Result<std::unique_ptr<Store>> import(UniqueFd fd, std::uint64_t size_bytes) = 0;
  // Sets memory aside. No program can take it while any process has the fd. `size_bytes` is a
  // multiple of the granularity. Only a device with a context needs that.
  virtual Result<UniqueFd> set_aside(std::uint64_t) { return fail("nothing can be set aside"); }
  // Must be called on the thread that will use the Copier. `host` outlives the Copier.
  virtual Result<std::unique_ptr<Copier>> make_copier(std::span<std::byte> host) = 0;
};

// Those of a worker, by place; null where it has none.
class StoreDevices {
 public:
  // NOLINTNEXTLINE(google-explicit-constructor): one device is a set of devices.
  StoreDevices(StoreDevice& only) { add(only); }
  StoreDevices() = default;

  void add(StoreDevice& device) { devices_[static_cast<std::size_t>(device.place())] = &device; }
  StoreDevice* at(StorePlace place) const { return devices_[static_cast<std::size_t>(place)]; }

 private:
  std::array<StoreDevice*, kStorePlaces> devices_{};
};

// The copiers of an I/O thread, by place; null where the worker has no device.
using Copiers = std::array<std::unique_ptr<Copier>, kStorePlaces>;

}  // namespace vramswap
