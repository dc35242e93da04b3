#include "daemon/control/size.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>

namespace vramswap::control {
namespace {

constexpr std::string_view kUnits = "KMGTPE";

std::unexpected<Error> bad_size(std::string_view text, std::string_view why) {
  return fail(fmt::format("size '{}': {}; write e.g. 7G, 512M, 1.5GiB (G means GiB)", text, why));
}

// The power of 1024 a unit stands for, or -1.
int unit_shift(std::string_view unit) {
  if (unit.empty() || unit == "B") return 0;
  const auto position = kUnits.find(unit[0]);
  if (position == std::string_view::npos) return -1;
  const auto rest = unit.substr(1);
  if (!rest.empty() && rest != "B" && rest != "IB") return -1;
  return 10 * (static_cast<int>(position) + 1);
}

struct Number {
  long double value;
  std::string_view rest;
};

Result<Number> leading_number(std::string_view text) {
  const auto end = std::find_if_not(text.begin(), text.end(), [](unsigned char c) {
    return std::isdigit(c) || c == '.' || c == '-' || c == '+';
  });
  double value = 0;  // 53 bits: exact for every page count below 2^65 bytes
  const char* last = text.data() + (end - text.begin());
  const auto [stop, error] = std::from_chars(text.data(), last, value, std::chars_format::fixed);
  if (error != std::errc{} || stop != last) return bad_size(text, "not a number");
  return Number{value, text.substr(static_cast<std::size_t>(end - text.begin()))};
}

// fmt would write "1e-05%", which is no size.
std::string to_text(const Percent& percent) {
  std::array<char, 400> text;  // the least number has 326 characters
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), percent.value,
                                          std::chars_format::fixed);
  return fmt::format("{}%", std::string_view(text.data(), end));
}

}  // namespace

Result<std::uint64_t> parse_byte_size(std::string_view text) {
  const auto number = leading_number(text);
  if (!number) return number.error();
  std::string unit(number->rest);
  std::ranges::transform(unit, unit.begin(), [](unsigned char c) { return std::toupper(c); });
  const int shift = unit_shift(unit);
  if (shift < 0) return bad_size(text, fmt::format("unknown unit '{}'", number->rest));
  if (number->value <= 0) return bad_size(text, "must be above zero");
  const long double bytes = std::ldexp(number->value, shift);
  if (bytes >= 0x1p63L) return bad_size(text, "too large");
  if (bytes < 1 || (shift == 0 && bytes != std::floor(bytes))) {
    return bad_size(text, "a fraction of a byte");
  }
  return static_cast<std::uint64_t>(bytes);
}

Result<Size> parse_size(std::string_view text) {
  if (text == "max") return Maximum{};
  if (text.ends_with('%')) {
    const auto number = leading_number(text);
    if (!number) return number.error();
    if (number->rest != "%" || number->value <= 0 || number->value > 100) {
      return bad_size(text, "a percentage is above 0% and at most 100%");
    }
    return Percent{static_cast<double>(number->value)};
  }
  const auto bytes = parse_byte_size(text);
  if (!bytes) return bytes.error();
  return Bytes{*bytes};
}

std::string to_string(const Size& size) {
  if (std::holds_alternative<Maximum>(size)) return "max";
  if (const auto* percent = std::get_if<Percent>(&size)) return to_text(*percent);
  std::uint64_t value = std::get<Bytes>(size).value;
  std::size_t unit = 0;
  for (; value != 0 && value % 1024 == 0 && unit < kUnits.size(); ++unit) value /= 1024;
  return unit == 0 ? fmt::format("{}", value) : fmt::format("{}{}", value, kUnits[unit - 1]);
}

std::string format_bytes(std::uint64_t bytes) {
  std::size_t unit = 0;
  std::uint64_t whole = bytes;
  std::uint64_t rest = 0;
  for (; whole >= 1024 && unit < kUnits.size(); ++unit) {
    rest = whole % 1024;
    whole /= 1024;
  }
  const char suffix = unit == 0 ? 'B' : kUnits[unit - 1];
  const std::uint64_t tenth = rest * 10 / 1024;
  return tenth == 0 ? fmt::format("{}{}", whole, suffix)
                    : fmt::format("{}.{}{}", whole, tenth, suffix);
}

}  // namespace vramswap::control
