#include "daemon/base/unix_address.hpp"

#include <cerrno>
#include <cstring>

namespace vramswap {

Result<sockaddr_un> unix_address(const std::string& path, const char* call) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  if (path.size() >= sizeof address.sun_path) return fail_errno(path, call, ENAMETOOLONG);
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

}  // namespace vramswap
