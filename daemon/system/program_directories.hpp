// Where the daemon looks for mkswap and modprobe.
#pragma once

#include <array>

namespace vramswap {

// Root's PATH may lack the directories that they are in.
inline constexpr std::array kProgramDirectories{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin",
                                                "/usr/bin",        "/sbin",          "/bin"};

}  // namespace vramswap
