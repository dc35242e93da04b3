#include "swapctl/bench/bench.hpp"

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <boost/program_options/value_semantic.hpp>
#include <cerrno>
#include <fstream>
#include <ostream>

#include "swapctl/bench/plot.hpp"
#include "swapctl/bench/run_tests.hpp"
#include "swapctl/bench/settings.hpp"
#include "swapctl/interruption.hpp"
#include "swapctl/settings.hpp"
#include "swapctl/terminal_line.hpp"

namespace vramswap::swapctl {
namespace {

namespace po = boost::program_options;

constexpr Help kBenchHelp = {.name = "bench",
                             .before = R"(Usage: vramswap bench [options] [scratch | DEVICE]...

Measures the swap of this machine. Reads every active swap area; writes and reads a scratch segment,
which carries no swap and is removed afterwards. With names, measures only those. Needs root. The
tests do not use the page cache (O_DIRECT):
  sequential     blocks of 1 MiB, one after the other, as dd does
  random         4 KiB each, 32 at a time
  single reads   4 KiB, one a second, as ioping does: the shortest, the average, the longest

)",
                             .after = R"(
zram and vramswap read a page that was never written at the speed of a table look-up: before you
compare areas, see how much of them is used. Programs that swap during the tests become slower, and
make the tests slower.

Exit codes:
  0 done, 1 failed or interrupted, 2 wrong usage or config file
)"};

class Bench {
 public:
  Bench(const BenchSettings& settings, const control::UpRequest& request, int interrupt_fd,
        const Environment& environment)
      : settings_(settings),
        request_(scratch_request(request, settings.size_bytes)),
        interrupt_fd_(interrupt_fd),
        environment_(environment),
        line_(environment.err) {}

  // An error: there is nothing to show.
  Result<std::vector<Measured>> measure(const std::vector<Target>& targets, bool with_scratch) {
    if (with_scratch) {
      if (auto measured = measure_scratch(); !measured) return measured.error();
    }
    for (const Target& target : targets) {
      if (auto added = add(test_target(target, run())); !added) {
        return added.error();
      }
    }
    line_.clear();
    return rows_;
  }

 private:
  Result<void> measure_scratch() {
    auto scratch = ScratchSegments::create(request_, interrupt_fd_, environment_);
    if (!scratch) return scratch.error();
    Result<void> result;
    for (const auto& segment : scratch->list()) {
      if (result) result = add(test_scratch(segment, run()));
    }
    line_.clear();
    const auto removed = scratch->remove(environment_);
    return result ? removed : result;
  }

  Result<void> add(Result<Measured> row) {
    if (!row) return row.error();
    rows_.push_back(*std::move(row));
    return {};
  }

  TestRun run() {
    return {.plan = settings_.plan,
            .environment = environment_,
            .on_target = [this](const std::string& name) { name_ = name; },
            .observer = {.wait = [this](auto duration) { return wait(duration); },
                         .progress = [this](auto test, double share) { show(test, share); }}};
  }

  Result<void> wait(std::chrono::milliseconds duration) const {
    pollfd interrupted{.fd = interrupt_fd_, .events = POLLIN, .revents = 0};
    if (poll(&interrupted, 1, static_cast<int>(duration.count())) == 0) return {};
    return std::unexpected(Error{"interrupted", EINTR});
  }

  void show(std::string_view test, double share) {
    if (!environment_.err_is_terminal) return;
    line_.show(fmt::format("{}  {:<16} {}  {}%", name_, test, share_bar(share),
                           static_cast<int>(share * 100)));
  }

  const BenchSettings& settings_;
  const control::UpRequest request_;
  const int interrupt_fd_;
  const Environment& environment_;
  TerminalLine line_;
  std::string name_;
  std::vector<Measured> rows_;
};

Result<void> write_plot(const std::string& path, const std::vector<Measured>& rows) {
  std::ofstream file(path);
  if (!file) return fail_errno(path, "open", errno);
  file << bench_plot(rows);
  if (!file.flush()) return fail_errno(path, "write", errno);
  return {};
}

// Shows the measured values even if something else failed.
ExitCode report_rows(const std::vector<Measured>& rows, const BenchSettings& settings,
                     const Environment& environment) {
  environment.out << (settings.json ? bench_json(rows, settings.plan) : bench_table(rows))
                  << std::flush;
  ExitCode code = kDone;
  for (const Measured& row : rows) {
    if (!row.problem.empty()) code = report(environment, {row.problem}, kFailed);
  }
  if (settings.plot.empty()) return code;
  const auto written = write_plot(settings.plot, rows);
  return written ? code : report(environment, written.error(), kFailed);
}

int bench(const Arguments& arguments, const Environment& environment) {
  control::UpRequest request;
  const auto up = up_settings(request);
  BenchSettings settings;
  auto options = bench_options(settings);
  options.add(scratch_options(up));
  auto values = read_options(arguments, options, kBenchHelp, environment, &settings.targets);
  if (!values) return values.error();
  if (const auto root = require_root(environment, "bench"); !root) {
    return report(environment, root.error(), kFailed);
  }
  if (const auto read = apply_sources(*values, up, environment.config); !read) {
    return report(environment, read.error(), kWrongUsage);
  }
  auto targets = find_targets(environment.swaps_path, environment.block_directory);
  if (!targets) return report(environment, targets.error(), kFailed);
  const auto& names = settings.targets;
  if (!names.empty()) {
    targets = choose_targets(*targets, names);
    if (!targets) return report(environment, targets.error(), kWrongUsage);
  }

  const auto interruption = Interruption::create();
  if (!interruption) return report(environment, interruption.error(), kFailed);
  const bool with_scratch = names.empty() || std::ranges::count(names, kScratchName) != 0;
  Bench bench(settings, request, interruption->fd(), environment);
  const auto rows = bench.measure(*targets, with_scratch);
  if (!rows) return report(environment, rows.error(), kFailed);
  return report_rows(*rows, settings, environment);
}

}  // namespace

Command bench_command() {
  return {.name = "bench",
          .usage = "[options]",
          .summary = "measure the swap of this machine",
          .run = bench};
}

}  // namespace vramswap::swapctl
