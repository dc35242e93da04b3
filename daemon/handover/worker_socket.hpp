// How a supervisor finds the workers that a dead supervisor left. Each worker listens on a socket
// in the runtime directory; when it has lost its channel, it accepts a new one there.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/base/unique_fd.hpp"

namespace vramswap::worker_socket {

std::string path(const std::string& runtime_directory, std::size_t device);
// The sockets in the directory: workers listen on some, dead workers left the others.
std::vector<std::string> find(const std::string& runtime_directory);

// For the worker. Replaces an existing socket. Only the same user may connect.
Result<UniqueFd> listen(const std::string& path);
// Accepts a waiting connection. Empty, with errno set, if none waits.
UniqueFd accept(int listener);

struct WorkerConnection {
  UniqueFd channel;  // like those of make_channel(); the worker uses it once its old one is closed
  pid_t worker;      // the process that listens
};
// For the supervisor. Never waits. ECONNREFUSED or ENOENT: no process listens there. EAGAIN: a
// worker listens, and has not accepted the connections that were made before.
Result<WorkerConnection> connect(const std::string& path);

}  // namespace vramswap::worker_socket
