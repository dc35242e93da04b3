// How a connection between the kernel and a worker ended.
#pragma once

#include <cstdint>

namespace vramswap {

enum class ConnectionEnd : std::uint32_t {
  disconnected,  // the kernel sent NBD_CMD_DISC: the device is gone
  hung_up,       // end of file: the kernel closed the socket, or gave it up as too slow
  broken,        // a request had a wrong magic, or the socket failed
  dropped,       // the worker closed the socket at the supervisor's request
};

}  // namespace vramswap
