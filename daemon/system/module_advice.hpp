// What to do where the kernel's nbd module is not there or not to be seen.
#pragma once

#include <string>
#include <string_view>

namespace vramswap {

inline constexpr std::string_view kSecureBootAdvice =
    "secure boot takes no module without a signature that it knows: sign it, or boot a kernel of "
    "the distribution";
inline constexpr std::string_view kOutsideAdvice =
    "run vramswap outside of containers and network namespaces";

// Where modprobe has failed, and `said` why. `modules` is the directory of the modules of the
// kernel that runs.
std::string module_advice(std::string_view said, const std::string& modules);

}  // namespace vramswap
