// The progress of a swapoff or of a loan, on one line of a terminal.
#pragma once

#include <chrono>
#include <iosfwd>
#include <string>
#include <string_view>

#include "daemon/control/protocol.hpp"
#include "swapctl/terminal_line.hpp"

namespace vramswap::swapctl {

// "swapoff /dev/nbd0  [########------------]  512M of 1.2G  42%  310M/s", within 80 columns.
// Leaves a rate of 0 out.
std::string progress_line(const control::Progress& progress, std::uint64_t bytes_per_second,
                          std::string_view verb = "swapoff");

class ProgressBar {
 public:
  using Clock = std::chrono::steady_clock;

  explicit ProgressBar(std::ostream& terminal, std::string_view verb = "swapoff")
      : line_(terminal), verb_(verb) {}

  void show(const control::Progress& progress, Clock::time_point now = Clock::now());
  void clear() { line_.clear(); }

 private:
  std::uint64_t rate(const control::Progress& progress, Clock::time_point now) const;

  TerminalLine line_;
  const std::string_view verb_;
  // The first report of the device; the rate is measured from it.
  control::Progress start_;
  Clock::time_point start_time_;
};

}  // namespace vramswap::swapctl
