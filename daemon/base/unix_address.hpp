// The address of a socket in the file system; see unix(7).
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <string>

#include "daemon/base/error.hpp"

namespace vramswap {

// ENAMETOOLONG: a path has at most 107 bytes. `call` is named in that error.
Result<sockaddr_un> unix_address(const std::string& path, const char* call);

// For bind() and connect(), together with sizeof address.
inline const sockaddr* as_sockaddr(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

}  // namespace vramswap
