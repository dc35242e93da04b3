// Sizes as people write them: "7G", "512M", "1.5GiB", "80%", "max".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "daemon/base/error.hpp"

namespace vramswap::control {

struct Bytes {
  std::uint64_t value = 0;
  friend bool operator==(const Bytes&, const Bytes&) = default;
};
// A part of the card's free memory. In (0, 100].
struct Percent {
  double value = 0;
  friend bool operator==(const Percent&, const Percent&) = default;
};
// All of the card's free memory, less the headroom.
struct Maximum {
  friend bool operator==(const Maximum&, const Maximum&) = default;
};
using Size = std::variant<Bytes, Percent, Maximum>;

// Units are powers of 1024, as swapon(8) and zramctl(8) print them: K, M, G, T, each also as KiB,
// MiB, ...; no unit means bytes. Case does not matter. Zero, negative numbers, fractions of a byte
// and more than 2^63 bytes are errors; they say what is accepted.
Result<Size> parse_size(std::string_view text);
// The same, but does not accept "80%" and "max".
Result<std::uint64_t> parse_byte_size(std::string_view text);

// Exact: parse_size() reads the same size back. "7G", "1536M", "80%", "max".
std::string to_string(const Size& size);

// For people: at most one decimal, rounded down, as swapon --show prints it. "7G", "1.5G", "212K",
// "0B".
std::string format_bytes(std::uint64_t bytes);

}  // namespace vramswap::control
