// The orders from the environment (README.md has the variables).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "cuda/driver_types.hpp"

namespace fake_cuda {

namespace api = vramswap::cuda::api;

inline constexpr int kMaxDevices = 8;
inline constexpr std::uint64_t kGranularity = 2ull << 20;

/// How a compiled image begins.
inline constexpr std::string_view kCompiledMark = "fake cubin\n";

enum class CopyFault { none, error, hang, kill, reset, flip };

struct Configuration {
  std::string directory = "/tmp/fake_cuda";
  int devices = 1;
  std::uint64_t memory_bytes = 256ull << 20;
  std::uint64_t context_bytes = 0;  // that a context takes
  int display_device = -1;
  int compute_mode = 0;
  bool has_jit = true;
  bool pci_order = false;
  std::string failing_calls;
  CopyFault copy_fault = CopyFault::none;
  std::uint64_t fault_at_copy = 0;  // counted from 1
  api::CUresult fault_code = api::CUDA_SUCCESS;
  std::uint64_t bad_word = 0;  // 0: no page is bad

  /// What FAKE_CUDA_FAIL orders for `call`; CUDA_SUCCESS if nothing. Does not allocate.
  api::CUresult ordered_result(std::string_view call) const;
};

/// Ends the process with a message if a variable makes no sense: a test must not pass because its
/// fault was misspelt.
Configuration read_configuration();

}  // namespace fake_cuda
