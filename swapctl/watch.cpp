#include "swapctl/watch.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <ostream>

#include "swapctl/commands.hpp"
#include "swapctl/interruption.hpp"
#include "swapctl/io_rates.hpp"
#include "swapctl/status_query.hpp"
#include "swapctl/status_report.hpp"

namespace vramswap::swapctl {
namespace {

using Clock = std::chrono::steady_clock;

// Overwrites the screen line by line, which flickers less than clearing it all.
constexpr std::string_view kHome = "\033[H";
constexpr std::string_view kClearRestOfLine = "\033[K";
constexpr std::string_view kClearRestOfScreen = "\033[J";

std::string over_the_last(const std::string& text) {
  std::string screen(kHome);
  for (const char c : text) {
    if (c == '\n') screen += kClearRestOfLine;
    screen += c;
  }
  return screen.append(kClearRestOfScreen);
}

std::string heading(std::chrono::milliseconds interval) {
  return fmt::format("{:%F %T}, every {:g} s\n", fmt::localtime(std::time(nullptr)),
                     std::chrono::duration<double>(interval).count());
}

// False: interrupted meanwhile.
bool wait_until(Clock::time_point time, const Interruption& interruption) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(time - Clock::now());
    pollfd wait{interruption.fd(), POLLIN, 0};
    const auto limit = static_cast<int>(std::max<std::int64_t>(left.count(), 0));
    const int ready = poll(&wait, 1, limit);
    if (ready > 0) return false;
    if (ready == 0) return true;
  }
}

}  // namespace

ExitCode watch_status(const Environment& environment, std::chrono::milliseconds interval,
                      bool json) {
  const auto interruption = Interruption::create();
  if (!interruption) return report(environment, interruption.error(), kFailed);
  RateMeter meter;
  auto next = Clock::now();
  for (bool is_first = true;; is_first = false) {
    const auto answer = ask_status(environment, interruption->fd());
    if (!answer && answer.error().code == EINTR) return kDone;
    if (!answer) return report(environment, answer.error(), kFailed);
    const bool nothing_up = !*answer || (*answer)->segments.empty();
    const Rates rates = *answer ? meter.look(**answer) : Rates{};
    if (json) {
      environment.out << status_json_line(*answer, rates);
    } else if (!nothing_up) {
      const std::string text = heading(interval) + status_text(**answer, rates);
      const char* between = is_first ? "" : "\n";
      environment.out << (environment.out_is_terminal ? over_the_last(text) : between + text);
    }
    // The reader has gone: run() reports it.
    if (!environment.out.flush()) return kFailed;
    if (nothing_up) return report(environment, {"nothing is up"}, kNothingUp);
    next = std::max(next + interval, Clock::now());
    if (!wait_until(next, *interruption)) return kDone;
  }
}

}  // namespace vramswap::swapctl
