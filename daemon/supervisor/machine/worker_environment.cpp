#include "daemon/supervisor/machine/worker_environment.hpp"

#include <algorithm>
#include <array>
#include <string_view>

namespace vramswap {
namespace {

// CUDA_VISIBLE_DEVICES hides cards, LD_PRELOAD brings other code, NVIDIA_TF32_OVERRIDE and its like
// change what the driver does, and so do the C library's tunables.
constexpr std::array<std::string_view, 4> kDropped{"CUDA_", "LD_", "NVIDIA_", "GLIBC_TUNABLES="};

}  // namespace

std::vector<std::string> worker_environment(const char* const* environment) {
  std::vector<std::string> variables;
  for (; environment != nullptr && *environment != nullptr; ++environment) {
    const std::string_view variable = *environment;
    const bool is_dropped = std::ranges::any_of(
        kDropped, [&](std::string_view prefix) { return variable.starts_with(prefix); });
    if (!is_dropped) variables.emplace_back(variable);
  }
  variables.emplace_back("CUDA_DEVICE_ORDER=PCI_BUS_ID");
  variables.emplace_back("CUDA_MPS_PIPE_DIRECTORY=/run/vramswap/no-mps");
  return variables;
}

}  // namespace vramswap
