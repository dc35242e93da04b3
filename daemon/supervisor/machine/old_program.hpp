// The program of another version that what is up belongs to. An upgrade has replaced its file, but
// the service manager keeps a descriptor of it, and a worker that serves still runs it.
#pragma once

#include <string>

#include "daemon/base/unique_fd.hpp"

namespace vramswap {

// The name of the supervisor's program among the descriptors that the service manager keeps.
inline constexpr const char* kProgramName = "exe";

// `kept` is what the service manager had by that name, or empty. If that is the program of this
// process, or none, it is the program of a worker that listens in `runtime_directory`. Empty: all
// of them run this same program, or there are none.
UniqueFd find_old_program(UniqueFd kept, const std::string& runtime_directory);

}  // namespace vramswap
