#pragma once

#include <expected>
#include <string>
#include <utility>

namespace vramswap::netlink {

/// What failed, on what, and why.
struct Error {
  std::string operation;  ///< "CONNECT"
  std::string object;     ///< "nbd3", or "nbd" where no single device is meant
  int code = 0;           ///< positive errno
  std::string extack;     ///< the kernel's own words; empty when it gave none

  /// One line: "nbd3: CONNECT: EBUSY (Device or resource busy)". Inside the parentheses stands the
  /// extack text where there is one. The nbd driver gives none for its own checks: it explains its
  /// EINVALs in the kernel log only, so extack text means that generic netlink refused the message.
  std::string message() const;
};

/// A value, or the error that stands in its place. The compiler warns of one that nobody looks at.
template <class T>
class [[nodiscard]] Result : public std::expected<T, Error> {
  using Base = std::expected<T, Error>;

 public:
  using Base::Base;
  Result() = default;
  Result(Error error) : Base(std::unexpect, std::move(error)) {}
};

/// The errno behind a libnl code (either sign). libnl folds several errnos into one code, so this
/// picks the one that fits netlink sockets: a family that does not resolve is ENOENT.
int errno_from_libnl(int libnl_code);

}  // namespace vramswap::netlink
