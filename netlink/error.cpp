#include "netlink/error.hpp"

#include <fmt/format.h>
#include <netlink/errno.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace vramswap::netlink {

std::string Error::message() const {
  const char* known_name = strerrorname_np(code);
  const std::string name = known_name ? known_name : fmt::format("errno {}", code);
  const char* known_reason = strerrordesc_np(code);
  const std::string reason = !extack.empty() ? extack : known_reason ? known_reason : "unknown";
  return fmt::format("{}: {}: {} ({})", object, operation, name, reason);
}

int errno_from_libnl(int libnl_code) {
  switch (std::abs(libnl_code)) {
    case NLE_SUCCESS:
      return 0;
    case NLE_INTR:
    case NLE_DUMP_INTR:
      return EINTR;
    case NLE_BAD_SOCK:
      return EBADF;
    case NLE_AGAIN:
      return EAGAIN;
    case NLE_NOMEM:
      return ENOMEM;
    case NLE_EXIST:
      return EEXIST;
    case NLE_INVAL:
      return EINVAL;
    case NLE_RANGE:
      return ERANGE;
    case NLE_MSGSIZE:
    case NLE_ATTRSIZE:
      return EMSGSIZE;
    case NLE_OPNOTSUPP:
      return EOPNOTSUPP;
    case NLE_AF_NOSUPPORT:
      return EAFNOSUPPORT;
    case NLE_OBJ_NOTFOUND:
      return ENOENT;
    case NLE_MSG_OVERFLOW:
      return ENOBUFS;
    case NLE_MSG_TRUNC:
    case NLE_MSG_TOOSHORT:
    case NLE_SEQ_MISMATCH:
    case NLE_NOATTR:
    case NLE_MISSING_ATTR:
    case NLE_PARSE_ERR:
      return EBADMSG;
    case NLE_NOADDR:
      return EADDRNOTAVAIL;
    case NLE_BUSY:
      return EBUSY;
    case NLE_PROTO_MISMATCH:
      return EPROTONOSUPPORT;
    case NLE_NOACCESS:
      return EACCES;
    case NLE_PERM:
      return EPERM;
    case NLE_NODEV:
      return ENODEV;
    default:
      return EIO;
  }
}

}  // namespace vramswap::netlink
