// One supervisor at a time: a lock on the runtime directory, which goes with its holder.
#pragma once

#include <chrono>
#include <string>

#include "daemon/base/error.hpp"
#include "daemon/base/unique_fd.hpp"

namespace vramswap {

// The path at which the supervisor of `directory` listens for clients.
std::string control_path(const std::string& directory);

// Makes the directory where it is missing. A daemon that ends holds the lock until its last system
// call, so this waits for it, at most `limit`. It does not wait behind a daemon that answers
// clients: the lock of that one may be free a week later, and nobody waits for us then.
Result<UniqueFd> lock_runtime_directory(const std::string& directory,
                                        std::chrono::milliseconds limit);

}  // namespace vramswap
