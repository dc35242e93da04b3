// Advice for a kernel whose nbd module is missing or not visible.
#pragma once

#include <string>
#include <string_view>

namespace vramswap {

inline constexpr std::string_view kSecureBootAdvice =
    "secure boot refuses modules without a trusted signature: sign it, or boot the distribution's "
    "kernel";
inline constexpr std::string_view kOutsideAdvice =
    "run vramswap outside of containers and network namespaces";

// For a failed modprobe, which gave the reason `said`. `modules` is the directory of the running
// kernel's modules.
std::string module_advice(std::string_view said, const std::string& modules);

}  // namespace vramswap
