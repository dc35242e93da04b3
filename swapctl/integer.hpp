// Whole numbers on the command line and in config files.
#pragma once

#include <fmt/format.h>

#include <boost/program_options/errors.hpp>
#include <charconv>
#include <string_view>

namespace vramswap::swapctl {

// For the notifier of an option: throws the exception of Boost.Program_options.
template <class Integer>
Integer parse_integer(const char* name, std::string_view text, Integer low, Integer high) {
  Integer value{};
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stop != end || value < low || value > high) {
    throw boost::program_options::error(
        fmt::format("{} '{}': must be a whole number {}..{}", name, text, low, high));
  }
  return value;
}

}  // namespace vramswap::swapctl
