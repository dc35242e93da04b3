// The program that this process runs, by a descriptor. A package manager may replace its file or
// remove it at any time; a process that is started by the descriptor still runs this same program.
#pragma once

#include <string>
#include <vector>

#include "daemon/base/error.hpp"

namespace vramswap {

// Close-on-exec, and open for as long as the process lives. The first call opens it.
Result<int> own_program();

// Replaces the program of this process by the one behind the descriptor. Returns only if it cannot
// be executed. The kernel then names the process after the descriptor: a program that wants its own
// name takes it by prctl(PR_SET_NAME).
Error execute(int program, const std::vector<std::string>& arguments);

}  // namespace vramswap
