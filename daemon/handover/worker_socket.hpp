// How a supervisor finds the workers of one that has died: each listens on a socket in the runtime
// directory, and accepts a new channel when it has lost the old one.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/base/unique_fd.hpp"

namespace vramswap::worker_socket {

std::string path(const std::string& runtime_directory, std::size_t device);
// Those that a worker listens on, and those that a dead one left.
std::vector<std::string> find(const std::string& runtime_directory);

// In the worker. Takes the place of a socket that is there. Only the same user may connect.
Result<UniqueFd> listen(const std::string& path);
// Of a listener with a connection waiting; empty, with errno, where there is none.
UniqueFd accept(int listener);

struct Meeting {
  UniqueFd channel;  // as of make_channel(); the worker takes it up once its old one is gone
  pid_t worker;      // who listened
};
// In the supervisor. ECONNREFUSED or ENOENT: nobody listens there.
Result<Meeting> connect(const std::string& path);

}  // namespace vramswap::worker_socket
