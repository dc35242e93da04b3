// The state of the library within one process. Tables have fixed sizes and streams their queues
// from creation on, so that copies allocate nothing: they run while the machine has no memory.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string_view>
#include <type_traits>
#include <vector>

#include "tests/fake_cuda/configuration.hpp"
#include "tests/fake_cuda/device_memory.hpp"

namespace fake_cuda {

/// A handle of cuMemCreate or of an import; the handle's value is the index + 1.
struct Allocation {
  bool in_use = false;
  int fd = -1;
  DeviceMemory::Range range{};
};

/// A range of addresses, and the memory mapped there: nothing or one whole allocation.
struct Reservation {
  std::byte* base = nullptr;  // null: not in use
  std::size_t size_bytes = 0;
  bool mapped = false;
  bool accessible = false;
};

struct HostRange {
  std::byte* base = nullptr;  // null: not in use
  std::size_t size_bytes = 0;
};

struct State {
  std::mutex mutex;  // guards the tables
  std::array<Allocation, 256> allocations;
  std::array<Reservation, 256> reservations;
  std::array<HostRange, 64> registrations;
  std::array<int, kMaxDevices> context_references{};
  std::array<int, kMaxDevices> context_memory{};  // descriptors that hold it

  // Written by cuInit only.
  std::atomic<bool> initialised = false;
  Configuration configuration;
  std::vector<DeviceMemory> devices;  // by PCI address
  std::atomic<std::uint64_t>* copies = nullptr;

  std::atomic<api::CUresult> sticky = api::CUDA_SUCCESS;
  std::atomic<bool> hung = false;

  /// The device behind an ordinal, as an index into `devices`; -1 if there is none.
  int device_of(api::CUdevice ordinal) const;
  /// Whether the range lies in one reservation that is mapped and accessible.
  bool is_accessible(api::CUdeviceptr address, std::size_t bytes);
};

State& state();

/// Reads the environment and opens the devices.
void initialise();

/// What every entry point returns at once unless it is CUDA_SUCCESS: an ordered failure, no cuInit
/// yet, the error that ended the context.
api::CUresult enter(std::string_view call);
/// The same for calls that need a current context.
api::CUresult enter_with_context(std::string_view call);

/// The calling thread's device, as an index into State::devices; -1 if it has no context.
int current_device();
void set_current_device(int device);

/// Never returns if the device hangs.
void wait_while_hung();

}  // namespace fake_cuda

// The entry points, with the signatures that vramswap expects: a definition that differs does not
// compile.
#define DECLARE(name)                                                                        \
  extern "C" [[gnu::visibility(                                                              \
      "default")]] std::remove_pointer_t<decltype(vramswap::cuda::api::FunctionTable::name)> \
      name;
VRAMSWAP_CUDA_FUNCTIONS(DECLARE)
#undef DECLARE
#define DECLARE(name)                                                                             \
  extern "C" [[gnu::visibility(                                                                   \
      "default")]] std::remove_pointer_t<decltype(vramswap::cuda::api::NewerFunctionTable::name)> \
      name;
VRAMSWAP_CUDA_NEWER_FUNCTIONS(DECLARE)
#undef DECLARE
