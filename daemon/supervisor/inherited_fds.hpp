// Descriptors that outlive the supervisor, each with a name: in the store of the service manager,
// for when supervisor and workers die together, and across exec, for when the program is replaced.
#pragma once

#include <map>
#include <string>

#include "daemon/base/error.hpp"
#include "daemon/base/unique_fd.hpp"

namespace vramswap {

using NamedFds = std::map<std::string, UniqueFd>;

// systemd keeps a copy until it is taken out or the unit has stopped for good; FDPOLL=0, since a
// GPU's descriptor may not be polled. Nothing happens where there is no systemd. Sent when it
// returns, and taken in by systemd after `wait_for_fd_store`.
void put_in_fd_store(const std::string& name, int fd);
void take_out_of_fd_store(const std::string& name);
void wait_for_fd_store();

// What the service manager kept; what is not ours is closed. To be called once.
NamedFds take_fd_store();

// "pool=5,store-0=6": makes them survive exec; and back.
std::string pass_on(const NamedFds& fds);
Result<NamedFds> take_passed_on(const std::string& text);

}  // namespace vramswap
