#include "swapctl/terminal_line.hpp"

#include <fmt/format.h>

#include <ostream>

namespace vramswap::swapctl {
namespace {

constexpr std::size_t kBarWidth = 20;

// Without automatic margins a narrow terminal cuts the line off instead of wrapping it, so that
// the next one can replace it.
constexpr std::string_view kStartLine = "\r\033[?7l";
constexpr std::string_view kEndLine = "\033[K\033[?7h";
constexpr std::string_view kClearLine = "\r\033[K";

}  // namespace

std::string share_bar(double share) {
  const auto full = static_cast<std::size_t>(share * kBarWidth);
  return fmt::format("[{:#<{}}{:-<{}}]", "", full, "", kBarWidth - full);
}

void TerminalLine::show(std::string_view text) {
  terminal_ << kStartLine << text << kEndLine << std::flush;
  is_shown_ = true;
}

void TerminalLine::clear() {
  if (is_shown_) terminal_ << kClearLine << std::flush;
  is_shown_ = false;
}

}  // namespace vramswap::swapctl
