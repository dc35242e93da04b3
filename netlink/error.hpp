// The errors of this library.
#pragma once

#include <expected>
#include <string>
#include <utility>

namespace vramswap::netlink {

/// What failed, on what, and why.
struct Error {
  std::string operation;  ///< "CONNECT"
  std::string object;     ///< "nbd3", or "nbd" if the request is not about a single device
  int code = 0;           ///< positive errno
  std::string extack;     ///< the kernel's text; empty: the kernel sent none

  /// One line: "nbd3: CONNECT: EBUSY (Device or resource busy)". The parentheses contain the extack
  /// text if there is one. The nbd driver sends none for its own checks and explains its EINVALs in
  /// the kernel log only, so extack text means that generic netlink refused the message.
  std::string message() const;
};

/// A value or an error. The compiler warns if the caller ignores it.
template <class T>
class [[nodiscard]] Result : public std::expected<T, Error> {
  using Base = std::expected<T, Error>;

 public:
  using Base::Base;
  Result() = default;
  Result(Error error) : Base(std::unexpect, std::move(error)) {}
};

/// The errno for a libnl code of either sign. libnl has one code for several errnos; this returns
/// the one that fits netlink sockets, e.g. ENOENT for a family that does not resolve.
int errno_from_libnl(int libnl_code);

}  // namespace vramswap::netlink
