#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <span>

#include "netlink/message.hpp"

namespace vramswap::netlink {

inline Message only_message(std::span<const std::byte> datagram) {
  const auto messages = split_datagram(datagram);
  EXPECT_TRUE(messages && messages->size() == 1);
  return messages->at(0);
}

/// The address of a recorded request.
inline RequestHeader header_of(std::span<const std::byte> request) {
  const Message message = only_message(request);
  return {.family = message.type, .port = message.port, .sequence = message.sequence};
}

}  // namespace vramswap::netlink
