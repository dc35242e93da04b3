// How far a swapoff has come, on one line of a terminal.
#pragma once

#include <chrono>
#include <iosfwd>
#include <string>

#include "daemon/control/protocol.hpp"

namespace vramswap::swapctl {

// "swapoff /dev/nbd0  [########------------]  512M of 1.2G  42%  310M/s", within 80 columns.
// Without the rate when it is 0.
std::string progress_line(const control::Progress& progress, std::uint64_t bytes_per_second);

class ProgressBar {
 public:
  using Clock = std::chrono::steady_clock;

  explicit ProgressBar(std::ostream& terminal) : terminal_(terminal) {}
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  ~ProgressBar() { clear(); }

  void show(const control::Progress& progress, Clock::time_point now = Clock::now());
  void clear();

 private:
  std::uint64_t rate(const control::Progress& progress, Clock::time_point now) const;

  std::ostream& terminal_;
  bool shown_ = false;
  // The first report of the device, from which the rate counts.
  control::Progress start_;
  Clock::time_point start_time_;
};

}  // namespace vramswap::swapctl
