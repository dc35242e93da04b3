#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <vector>

#include "netlink/message.hpp"

struct nl_msg;
struct nlattr;

namespace vramswap::netlink {

/// Builds one request that asks for an ACK. A failure sticks and finish() reports it, so the calls
/// between need no checks.
class MessageWriter {
 public:
  MessageWriter(const RequestHeader& header, uint8_t command, uint8_t version,
                size_t attribute_bytes);

  void put_u32(int type, uint32_t value);
  void put_u64(int type, uint64_t value);
  void put_string(int type, const std::string& value);

  /// `nested = begin_nested(type); ...; end_nested(nested);` An empty nest leaves no trace.
  nlattr* begin_nested(int type);
  void end_nested(nlattr* nested);

  /// The message as it goes over the wire. EMSGSIZE: more than `attribute_bytes`, or a nest of more
  /// than 64 KiB, the most an attribute's length field can say.
  [[nodiscard]] std::expected<std::vector<std::byte>, int> finish();

 private:
  struct Free {
    void operator()(nl_msg* message) const noexcept;
  };
  void note(int libnl_result) { failed_ |= libnl_result < 0; }

  std::unique_ptr<nl_msg, Free> message_;
  bool failed_ = false;
};

}  // namespace vramswap::netlink
