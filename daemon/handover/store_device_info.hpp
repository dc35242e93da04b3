// What a worker reports to the supervisor about its store device: one GPU, or host memory.
#pragma once

#include <cstdint>
#include <string>

namespace vramswap {

struct StoreDeviceInfo {
  std::string name;  // "NVIDIA GeForce RTX 3070", or "ram"
  std::string uuid;  // "GPU-..."; empty for ram
  std::uint64_t free_bytes = 0;
  std::uint64_t total_bytes = 0;
  std::uint64_t granularity_bytes = 0;  // the size of a store is a multiple of this
  // The size of a context, with a margin. 0: not known yet, or the device is host memory, which has
  // none.
  std::uint64_t context_bytes = 0;
  bool drives_display = false;
  // One process at a time may use it. During a doze another process could take it.
  bool is_exclusive = false;
};

}  // namespace vramswap
