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

  // Lends the pages that `pieces` point into: vmsplice into a pipe, splice into the socket. They
  // must stay unchanged until the socket has been read empty. Keeps a server alive on a machine
  // without free memory, where copying into fresh socket buffers livelocks.
  Result<void> lend(int socket, std::span<iovec> pieces);

  // Copies; for headers alone, which fit the one small buffer that lending would allocate as well.
  Result<void> copy(int socket, std::span<iovec> pieces);

 private:
  ReplySender(UniqueFd read_end, UniqueFd write_end, UniqueFd null)
      : read_end_(std::move(read_end)), write_end_(std::move(write_end)), null_(std::move(null)) {}

  Result<void> empty_pipe(int socket, std::size_t bytes);
  void drain_pipe(std::size_t bytes);

  UniqueFd read_end_;
  UniqueFd write_end_;
  UniqueFd null_;
};

}  // namespace vramswap
