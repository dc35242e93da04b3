// Builds requests.
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

/// Builds one request that asks for an ACK. After a failure the other calls do nothing and finish()
/// reports it, so the caller checks only that.
class MessageWriter {
 public:
  MessageWriter(const RequestHeader& header, uint8_t command, uint8_t version,
                size_t attribute_bytes);

  void put_u32(int type, uint32_t value);
  void put_u64(int type, uint64_t value);
  void put_string(int type, const std::string& value);

  /// `nested = begin_nested(type); ...; end_nested(nested);` An empty nest is left out.
  nlattr* begin_nested(int type);
  void end_nested(nlattr* nested);

  /// The message as it is sent. EMSGSIZE: it has more than `attribute_bytes`, or a nest of more
  /// than 64 KiB, the largest value of an attribute's length field.
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
