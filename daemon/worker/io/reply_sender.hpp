// Sends replies over a socket, by lending pages or by copying.
#pragma once

#include <sys/uio.h>

#include <span>

#include "daemon/base/error.hpp"
#include "daemon/base/unique_fd.hpp"

namespace vramswap {

class ReplySender {
 public:
  static Result<ReplySender> create();

  // Lends the pages that `iovs` point into: vmsplice into a pipe, splice into the socket. The pages
  // must stay unchanged until the peer has read everything from the socket. On a machine without
  // free memory this keeps the worker serving, where copying into new socket buffers livelocks.
  Result<void> lend(int socket, std::span<iovec> iovs);

  // Copies. For headers alone: they fit into one small buffer, which lending would allocate too.
  Result<void> copy(int socket, std::span<iovec> iovs);

 private:
  ReplySender(UniqueFd read_end, UniqueFd write_end)
      : read_end_(std::move(read_end)), write_end_(std::move(write_end)) {}

  Result<void> empty_pipe(int socket, std::size_t bytes);
  void drain_pipe();

  UniqueFd read_end_;
  UniqueFd write_end_;
};

}  // namespace vramswap
