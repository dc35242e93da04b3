#include "swapctl/progress_bar.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace vramswap::swapctl {
namespace {

// "swapoff /dev/nbd1000"; the name of a card may be longer.
constexpr std::size_t kLongestSubject = 20;
constexpr auto kShortestRate = std::chrono::milliseconds(200);

}  // namespace

std::string progress_line(const control::Progress& progress, std::uint64_t bytes_per_second,
                          std::string_view verb) {
  const auto total = progress.total_bytes;
  const auto done = std::min(progress.done_bytes, total);
  const double share = total == 0 ? 1 : static_cast<double>(done) / static_cast<double>(total);
  auto line = fmt::format("{}  {}  {} of {}  {}%",
                          fmt::format("{} {}", verb, progress.device).substr(0, kLongestSubject),
                          share_bar(share), control::format_bytes(done),
                          control::format_bytes(total), static_cast<int>(share * 100));
  if (bytes_per_second != 0) line += fmt::format("  {}/s", control::format_bytes(bytes_per_second));
  return line;
}

void ProgressBar::show(const control::Progress& progress, Clock::time_point now) {
  if (progress.device != start_.device) {
    start_ = progress;
    start_time_ = now;
  }
  line_.show(progress_line(progress, rate(progress, now), verb_));
}

std::uint64_t ProgressBar::rate(const control::Progress& progress, Clock::time_point now) const {
  const auto elapsed = now - start_time_;
  if (elapsed < kShortestRate || progress.done_bytes < start_.done_bytes) return 0;
  const auto seconds = std::chrono::duration<double>(elapsed).count();
  return static_cast<std::uint64_t>(static_cast<double>(progress.done_bytes - start_.done_bytes) /
                                    seconds);
}

}  // namespace vramswap::swapctl
