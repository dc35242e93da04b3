#include "netlink/error.hpp"

#include <gtest/gtest.h>
#include <netlink/errno.h>

#include <cerrno>

namespace vramswap::netlink {
namespace {

TEST(Error, NamesObjectOperationAndErrno) {
  const Error error{"CONNECT", "nbd3", EBUSY, ""};
  EXPECT_EQ(error.message(), "nbd3: CONNECT: EBUSY (Device or resource busy)");
}

TEST(Error, PrefersTheKernelsWords) {
  const Error error{"RECONFIGURE", "nbd3", EINVAL, "Attribute failed policy validation"};
  EXPECT_EQ(error.message(), "nbd3: RECONFIGURE: EINVAL (Attribute failed policy validation)");
}

TEST(Error, CopesWithAnErrnoThatHasNoName) {
  const Error error{"CONNECT", "nbd", 4095, ""};
  EXPECT_EQ(error.message(), "nbd: CONNECT: errno 4095 (unknown)");
}

TEST(ErrnoFromLibnl, TakesEitherSign) {
  EXPECT_EQ(errno_from_libnl(-NLE_OBJ_NOTFOUND), ENOENT);
  EXPECT_EQ(errno_from_libnl(NLE_OBJ_NOTFOUND), ENOENT);
}

TEST(ErrnoFromLibnl, IsZeroForSuccessOnly) {
  EXPECT_EQ(errno_from_libnl(NLE_SUCCESS), 0);
  for (int code = 1; code <= NLE_MAX + 1; ++code) EXPECT_GT(errno_from_libnl(-code), 0) << code;
}

TEST(ErrnoFromLibnl, UndoesLibnlsMappingOfImportantErrnos) {
  for (const int code : {ENOENT, EPERM, EACCES, EBUSY, ENOMEM, EINVAL, EOPNOTSUPP, EAFNOSUPPORT,
                         EPROTONOSUPPORT, ENODEV, EAGAIN, EINTR, EBADF, ERANGE, EADDRNOTAVAIL})
    EXPECT_EQ(errno_from_libnl(-nl_syserr2nlerr(code)), code);
}

}  // namespace
}  // namespace vramswap::netlink
