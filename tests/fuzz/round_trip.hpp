// What parses is written, and parses again, to the same text.
#pragma once

#include <string>
#include <string_view>

#include "daemon/base/error.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace vramswap::fuzz {

template <class Value>
void require_round_trip(std::string_view text, Result<Value> (*decode)(std::string_view)) {
  const auto parsed = decode(text);
  if (!parsed) return require(!parsed.error().message.empty(), "an error says what is wrong");
  const std::string written = encode(*parsed);
  const auto again = decode(written);
  require(again.has_value(), "what was written parses:", written);
  require(encode(*again) == written, "what was written reads back:", written);
}

}  // namespace vramswap::fuzz
