// The wait status of waitpid(2) as text.
#pragma once

#include <string>

namespace vramswap {

// "exit status 1", "killed by SIGSEGV". `status` is that of a child that has ended.
std::string describe_wait_status(int status);

}  // namespace vramswap
