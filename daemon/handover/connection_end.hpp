// How a connection between the kernel and a worker ended.
#pragma once

#include <cstdint>

namespace vramswap {

enum class ConnectionEnd : std::uint32_t {
  disconnected,  // the kernel sent NBD_CMD_DISC: the device is gone
  hung_up,       // end of file: the kernel closed the socket, or dropped it for being slow
  broken,        // the magic was wrong, or the socket failed
  dropped,       // the worker closed it, as the supervisor had asked
};

}  // namespace vramswap
