#include <algorithm>
#include <boost/program_options/value_semantic.hpp>
#include <chrono>
#include <optional>
#include <ostream>

#include "swapctl/commands.hpp"
#include "swapctl/integer.hpp"
#include "swapctl/prometheus.hpp"
#include "swapctl/status_query.hpp"
#include "swapctl/status_report.hpp"
#include "swapctl/status_trouble.hpp"
#include "swapctl/watch.hpp"

namespace vramswap::swapctl {
namespace {

namespace po = boost::program_options;

constexpr Help kStatusHelp = {
    .name = "status",
    .before = R"(Usage: vramswap status [--prometheus | [--json] [--watch [SECONDS]]]

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

}  // namespace

int status(const Arguments& arguments, const Environment& environment) {
  bool json = false;
  std::optional<std::chrono::seconds> interval;
  const auto set_interval = [&](const std::string& text) {
    interval =
        std::chrono::seconds(parse_integer<std::int64_t>("watch", text, 1, kMaxWatchSeconds));
  };
  bool prometheus = false;
  po::options_description options("Options");
  options.add_options()("json", po::bool_switch(&json), "for programs: one object, sizes in bytes")(
      "prometheus", po::bool_switch(&prometheus),
      "the text format of Prometheus; vramswap_up is 0 if no daemon answers")(
      "watch",
      po::value<std::string>()->value_name("SECONDS")->implicit_value("1")->notifier(set_interval),
      "repeat it, and show rates instead of totals; with --json, one object a line. Ctrl-C ends "
      "it");
  const auto values = read_options(join_watch_value(arguments), options, kStatusHelp, environment);
  if (!values) return values.error();
  if (prometheus && (json || interval)) {
    return report(
        environment,
        {"--prometheus goes with neither --json nor --watch (see vramswap status --help)"},
        kWrongUsage);
  }
  if (interval) return watch_status(environment, *interval, json);

  const auto answer = ask_status(environment);
  if (prometheus) environment.out << status_prometheus(answer ? *answer : std::nullopt);
  if (!answer) return report(environment, answer.error(), kFailed);
  const bool nothing_up = !*answer || (*answer)->segments.empty();
  if (json) environment.out << status_json(*answer);
  if (nothing_up) return report(environment, {"nothing is up"}, kNothingUp);
  if (!json && !prometheus) environment.out << status_text(**answer);
  if (const auto trouble = made_by_others(**answer)) {
    return report(environment, {trouble->text + ": " + trouble->advice}, trouble->exit_code);
  }
  return kDone;
}

}  // namespace vramswap::swapctl
