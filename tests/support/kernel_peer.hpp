// The other end of a served socket, as the kernel's nbd driver works it: a request header is one
// send with MSG_MORE, each page of a payload one more; a reply is received as 16 bytes, then page
// by page. Encoded here, not by the code under test.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include "daemon/base/unique_fd.hpp"
#include "tests/support/page_pattern.hpp"

namespace vramswap::load {

enum class Command : std::uint16_t {
  read = 0,
  write = 1,
  disconnect = 2,
  flush = 3,
  trim = 4,
  write_zeroes = 6,
};

struct RequestHeader {
  Command command = Command::read;
  std::uint64_t cookie = 0;
  std::uint64_t offset = 0;
  std::uint32_t length = 0;
  std::uint16_t flags = 0;
  std::uint32_t magic = 0x25609513;
};
std::array<std::byte, 28> encode(const RequestHeader& header);

struct ReplyHeader {
  std::uint32_t error;
  std::uint64_t cookie;
};

// All of these wait; false or nothing: the other side has ended the connection, or answered with
// something that is no reply.
bool send_header(int socket, const RequestHeader& header);
bool send_page(int socket, const Page& page, bool more);
std::optional<ReplyHeader> receive_reply(int socket);
bool receive_page(int socket, Page& page);

// The kernel's end and the server's, the latter as the supervisor makes it.
std::pair<UniqueFd, UniqueFd> make_connection();

}  // namespace vramswap::load
