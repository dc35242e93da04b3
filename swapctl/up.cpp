#include <boost/program_options/value_semantic.hpp>
#include <ostream>

#include "swapctl/commands.hpp"
#include "swapctl/settings.hpp"
#include "swapctl/status_report.hpp"

namespace vramswap::swapctl {
namespace {

namespace po = boost::program_options;

constexpr Help kUpHelp = {.name = "up",
                          .before = R"(Usage: vramswap up [options]

Makes swap of VRAM and prints what it made. Needs root. Starts vramswapd if it does not run.

)",
                          .after = R"(
Sizes, where G means GiB, as swapon and zramctl print it:
  7G, 512M, 1.5GiB   that much
  80%                of the GPU's free memory
  max                all of its free memory but 1 GiB, or 3 GiB if it drives a display
Percent and max are for --size only.

Config files, read in this order. A later one overrides an earlier one, the command line all:
  /etc/vramswap.conf
  /etc/vramswap.conf.d/*.conf
A line is KEY = VALUE with the names above, and # starts a comment: size = 7G

Exit codes:
  0 done, 1 failed, 2 wrong usage or config file
)"};

Result<ControlClient> connect_or_start(const Environment& environment) {
  auto client = ControlClient::connect(environment.socket);
  if (client || !no_daemon(client.error())) return client;
  return environment.start_daemon(environment.socket);
}

}  // namespace

int up(const Arguments& arguments, const Environment& environment) {
  control::UpRequest request;
  const auto settings = up_settings(request);
  po::options_description options("Options");
  options.add(settings).add_options()("config", po::value<std::string>()->value_name("FILE"),
                                      "read this file, not those in /etc");
  auto values = read_options(arguments, options, kUpHelp, environment);
  if (!values) return values.error();
  if (const auto root = require_root(environment, "up"); !root) {
    return report(environment, root.error(), kFailed);
  }
  if (const auto read = apply_sources(*values, settings, environment.config); !read) {
    return report(environment, read.error(), kWrongUsage);
  }
  if (const auto complete = check_complete(request); !complete) {
    return report(environment, complete.error(), kWrongUsage);
  }
  if (request.backend == control::Backend::ram) request.gpus.clear();

  auto client = connect_or_start(environment);
  if (!client) return report(environment, client.error(), kFailed);
  const auto made = ask<control::Status>(*client, request);
  if (!made) return report(environment, made.error(), kFailed);
  environment.out << status_table(*made);
  return kDone;
}

}  // namespace vramswap::swapctl
