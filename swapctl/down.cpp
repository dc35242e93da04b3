#include <boost/program_options/value_semantic.hpp>
#include <cerrno>
#include <ostream>

#include "swapctl/commands.hpp"
#include "swapctl/interruption.hpp"
#include "swapctl/progress_bar.hpp"

namespace vramswap::swapctl {
namespace {

namespace po = boost::program_options;

constexpr Help kDownHelp = {.name = "down",
                            .before = R"(Usage: vramswap down [--force]

Brings every swapped page back to RAM or other swap, then frees the VRAM. Needs root. If the pages
do not fit there, or not under the memory limit of the control group that they belong to, it says so
and changes nothing. Ctrl-C stops it and leaves the swap up.

)",
                            .after = R"(
Exit codes:
  0 done, 1 failed, interrupted or nothing is up, 2 wrong usage
)"};

Result<void> take_down(ControlClient& client, bool force, const Environment& environment) {
  const auto interruption = Interruption::create();
  if (!interruption) return interruption.error();
  ProgressBar bar(environment.err);
  const WaitOptions options{.interrupt_fd = interruption->fd(),
                            .on_progress = [&](const auto& progress) {
                              if (environment.err_is_terminal) bar.show(progress);
                            }};
  const auto done = ask<control::Done>(client, control::DownRequest{.force = force}, options);
  if (!done) return done.error();
  return {};
}

}  // namespace

int down(const Arguments& arguments, const Environment& environment) {
  bool force = false;
  po::options_description options("Options");
  options.add_options()("force", po::bool_switch(&force),
                        "try even if the pages do not seem to fit elsewhere");
  const auto values = read_options(arguments, options, kDownHelp, environment);
  if (!values) return values.error();
  if (const auto root = require_root(environment, "down"); !root) {
    return report(environment, root.error(), kFailed);
  }

  auto client = connect_to_what_is_up(environment);
  if (!client) return report(environment, client.error(), kFailed);
  const auto done = take_down(*client, force, environment);
  if (done) return kDone;
  // When the connection ends, the daemon stops and swaps on again what it had swapped off.
  const bool interrupted = done.error().code == EINTR;
  return report(environment, interrupted ? Error{"interrupted: swap stays up"} : done.error(),
                kFailed);
}

}  // namespace vramswap::swapctl
