// What a check has found.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace vramswap::swapctl {

enum class Outcome {
  ok,
  warning,  // `up` works, but more slowly, or without some protection
  failure,  // `up` fails, or pages are lost
  unknown,  // this user cannot find out, or only by waking the GPU
};

struct Finding {
  std::string name;  // of the check
  Outcome result = Outcome::ok;
  std::string text;    // one line
  std::string advice;  // what to do, one line; empty if it is ok
};
using Findings = std::vector<Finding>;

inline Finding ok(std::string name, std::string text) {
  return {std::move(name), Outcome::ok, std::move(text), ""};
}
inline Finding warning(std::string name, std::string text, std::string advice) {
  return {std::move(name), Outcome::warning, std::move(text), std::move(advice)};
}
inline Finding failure(std::string name, std::string text, std::string advice) {
  return {std::move(name), Outcome::failure, std::move(text), std::move(advice)};
}
inline Finding unknown(std::string name, std::string text, std::string advice) {
  return {std::move(name), Outcome::unknown, std::move(text), std::move(advice)};
}

inline constexpr std::string_view kRunAsRoot = "run it with sudo";

std::string_view to_string(Outcome outcome);

}  // namespace vramswap::swapctl
