#include <ostream>

#include "swapctl/commands.hpp"
#include "swapctl/status_report.hpp"

namespace vramswap::swapctl {
namespace {

namespace po = boost::program_options;

constexpr Help kReloadHelp = {.name = "reload",
                              .before = R"(Usage: vramswap reload

After an upgrade: replaces the running vramswapd and its workers by the programs that are installed
now. The swap stays up, and no page is moved; programs that need one wait until the new worker has
its GPU context. If the new version cannot take over from the old one, the old one keeps running.

)",
                              .after = R"(
Exit codes:
  0 done, 1 failed, 2 wrong usage
)"};

}  // namespace

int reload(const Arguments& arguments, const Environment& environment) {
  const auto values =
      read_options(arguments, po::options_description("Options"), kReloadHelp, environment);
  if (!values) return values.error();
  if (const auto root = require_root(environment, "reload"); !root) {
    return report(environment, root.error(), kFailed);
  }
  auto client = connect_to_what_is_up(environment);
  if (!client) return report(environment, client.error(), kFailed);
  const auto now = ask<control::Status>(*client, control::ReloadRequest{});
  if (!now) return report(environment, now.error(), kFailed);
  environment.out << status_table(*now);
  return kDone;
}

}  // namespace vramswap::swapctl
