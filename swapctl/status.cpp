#include <algorithm>
#include <boost/program_options/value_semantic.hpp>
#include <chrono>
#include <optional>
#include <ostream>

#include "swapctl/commands.hpp"
#include "swapctl/integer.hpp"
#include "swapctl/status_query.hpp"
#include "swapctl/status_report.hpp"
#include "swapctl/watch.hpp"

namespace vramswap::swapctl {
namespace {

namespace po = boost::program_options;

constexpr Help kStatusHelp = {.name = "status",
                              .before = R"(Usage: vramswap status [--json] [--watch [SECONDS]]

Shows a line for each swap area: device, size, bytes used, priority, where its pages are kept, and
state; then the totals. G means GiB. Then each worker, with what it has served since its start:
requests and pages, and the time from receiving a request to its reply (half of the requests took at
most P50, 99 % at most P99).

)",
                              .after = R"(
Exit codes:
  0 done, 1 failed, or somebody else has disconnected a device, 2 wrong usage, 3 nothing is up, or
  somebody else has swapped all of it off
)"};

constexpr std::int64_t kMaxWatchSeconds = 86400;

// The library takes an optional value only after a '='.
Arguments join_watch_value(Arguments arguments) {
  const auto watch = std::ranges::find(arguments, "--watch");
  if (watch == arguments.end() || watch + 1 == arguments.end() || (watch + 1)->starts_with('-')) {
    return arguments;
  }
  *watch += '=' + *(watch + 1);
  arguments.erase(watch + 1);
  return arguments;
}

struct Trouble {
  std::string message;
  ExitCode exit_code;
};

// What somebody else has done to the swap that is up.
std::optional<Trouble> made_by_others(const control::Status& status) {
  const auto& segments = status.segments;
  const auto disconnected =
      std::ranges::find(segments, control::kDisconnectedState, &control::SegmentStatus::state);
  if (disconnected != segments.end()) {
    return Trouble{disconnected->device +
                       ": somebody else has disconnected it: programs that need a page of it get "
                       "SIGBUS; end them and run 'vramswap down'",
                   kFailed};
  }
  if (std::ranges::all_of(segments, [](const auto& s) { return s.state == control::kOffState; })) {
    return Trouble{"somebody else has swapped it off: 'vramswap up' swaps it on again", kNothingUp};
  }
  return std::nullopt;
}

}  // namespace

int status(const Arguments& arguments, const Environment& environment) {
  bool json = false;
  std::optional<std::chrono::seconds> interval;
  const auto set_interval = [&](const std::string& text) {
    interval =
        std::chrono::seconds(parse_integer<std::int64_t>("watch", text, 1, kMaxWatchSeconds));
  };
  po::options_description options("Options");
  options.add_options()("json", po::bool_switch(&json), "for programs: one object, sizes in bytes")(
      "watch",
      po::value<std::string>()->value_name("SECONDS")->implicit_value("1")->notifier(set_interval),
      "repeat it, and show rates instead of totals; with --json, one object a line. Ctrl-C ends "
      "it");
  const auto values = read_options(join_watch_value(arguments), options, kStatusHelp, environment);
  if (!values) return values.error();
  if (interval) return watch_status(environment, *interval, json);

  const auto answer = ask_status(environment);
  if (!answer) return report(environment, answer.error(), kFailed);
  const bool nothing_up = !*answer || (*answer)->segments.empty();
  if (json) environment.out << status_json(*answer);
  if (nothing_up) return report(environment, {"nothing is up"}, kNothingUp);
  if (!json) environment.out << status_text(**answer);
  if (const auto trouble = made_by_others(**answer)) {
    return report(environment, {trouble->message}, trouble->exit_code);
  }
  return kDone;
}

}  // namespace vramswap::swapctl
