// What supervisor and worker say to each other. The supervisor asks, the worker answers each
// request with one message, in order; ConnectionEnded comes unasked.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "daemon/base/error.hpp"
#include "daemon/control/protocol.hpp"
#include "daemon/worker/io_thread.hpp"
#include "daemon/worker/store.hpp"

namespace vramswap::messages {

// Raised when a message changes its meaning; either side refuses another version.
inline constexpr int kVersion = 1;

// The first request. Answer: Started.
struct Start {
  control::Backend backend = control::Backend::vram;
  std::string gpu;          // selector; empty: the first GPU
  unsigned io_threads = 1;  // connections a device
};
// A new, zeroed store. fds: page map. Answer: Done, with the store's fd.
struct Create {
  std::uint32_t segment = 0;
  std::uint64_t size_bytes = 0;
};
// A store that exists already. fds: page map, store. Answer: Done.
struct Import {
  std::uint32_t segment = 0;
  std::uint64_t size_bytes = 0;
};
// Serve these sockets. fds: a socket for each entry of `threads`. Answer: Done.
struct Connect {
  std::uint32_t segment = 0;
  std::vector<unsigned> threads;  // which I/O thread serves which socket
};
// Close what is left of its connections, scrub the store and release it. Answer: Done.
struct Remove {
  std::uint32_t segment = 0;
};
using Request = std::variant<Start, Create, Import, Connect, Remove>;

struct Started {
  StoreDeviceInfo device;
};
struct Done {};
// The request had no effect, except that Remove has released the store, unscrubbed.
struct Failed {
  std::string message;
};
struct ConnectionEnded {
  std::uint32_t segment = 0;
  std::uint32_t slot = 0;  // the I/O thread that served it
  ConnectionEnd end = ConnectionEnd::hung_up;
};
using Message = std::variant<Started, Done, Failed, ConnectionEnded>;

std::string encode(const Request& request);
std::string encode(const Message& message);
Result<Request> decode_request(std::string_view text);
Result<Message> decode_message(std::string_view text);

}  // namespace vramswap::messages
