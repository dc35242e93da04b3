#include <boost/program_options/value_semantic.hpp>
#include <cerrno>
#include <chrono>
#include <optional>
#include <ostream>
#include <thread>

#include "swapctl/commands.hpp"
#include "swapctl/status_report.hpp"

namespace vramswap::swapctl {
namespace {

namespace po = boost::program_options;

constexpr Help kHelp = {.name = "status",
                        .before = R"(Usage: vramswap status [--json]

Shows a line for each swap area: device, size, bytes used, priority, where its pages are kept, and
state; then the totals. G means GiB.

)",
                        .after = R"(
Exit codes:
  0 done, 1 failed, 2 wrong usage, 3 nothing is up
)"};

// A daemon that is being killed still takes connections; there are not more of them in a row.
constexpr int kAttempts = 3;
constexpr std::chrono::milliseconds kPause{100};

// No value: no daemon runs.
Result<std::optional<control::Status>> ask_once(const Environment& environment) {
  auto client = connect_to_swap(environment);
  if (!client) {
    if (no_daemon(client.error())) return std::nullopt;
    return std::unexpected(client.error());
  }
  auto answer =
      ask<control::Status>(*client, control::StatusRequest{}, {.limit = environment.status_limit});
  if (!answer) return std::unexpected(answer.error());
  return *std::move(answer);
}

Result<std::optional<control::Status>> ask_status(const Environment& environment) {
  auto answer = ask_once(environment);
  for (int attempt = 1; attempt < kAttempts; ++attempt) {
    const int code = answer ? 0 : answer.error().code;
    const bool has_died = code == ECONNRESET || code == EPIPE;
    if (!has_died || !has_orphans(environment.socket)) break;
    std::this_thread::sleep_for(kPause);
    answer = ask_once(environment);
  }
  return answer;
}

}  // namespace

int status(const Words& words, const Environment& environment) {
  bool json = false;
  po::options_description options("Options");
  options.add_options()("json", po::bool_switch(&json), "for programs: one object, sizes in bytes");
  const auto arguments = read_words(words, options, kHelp, environment);
  if (!arguments) return arguments.error();

  const auto answer = ask_status(environment);
  if (!answer) return report(environment, answer.error(), kFailed);
  const bool nothing_up = !*answer || (*answer)->segments.empty();
  if (json) environment.out << status_json(*answer);
  if (nothing_up) return report(environment, {"nothing is up"}, kNothingUp);
  if (!json) environment.out << status_table(**answer);
  return kDone;
}

}  // namespace vramswap::swapctl
