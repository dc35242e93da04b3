// A line of a terminal that each text overwrites.
#pragma once

#include <iosfwd>
#include <string>
#include <string_view>

namespace vramswap::swapctl {

// "[########------------]" for 0.4.
std::string share_bar(double share);

class TerminalLine {
 public:
  explicit TerminalLine(std::ostream& terminal) : terminal_(terminal) {}
  TerminalLine(const TerminalLine&) = delete;
  TerminalLine& operator=(const TerminalLine&) = delete;
  ~TerminalLine() { clear(); }

  void show(std::string_view text);
  void clear();

 private:
  std::ostream& terminal_;
  bool is_shown_ = false;
};

}  // namespace vramswap::swapctl
