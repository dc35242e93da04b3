#include "swapctl/commands.hpp"

#include <fmt/format.h>

#include <ostream>
#include <utility>

namespace vramswap::swapctl {
namespace po = boost::program_options;

std::vector<Command> swap_commands() {
  return {
      {"up", "[options]", "make swap of VRAM; starts vramswapd if needed", up},
      {"down", "[--force]", "bring every swapped page back and free the VRAM", down},
      {"status", "[--prometheus | [--json] [--watch [SECONDS]]]",
       "show what is up, and what it has served", status},
      {"lend", "SIZE | --all", "free VRAM for other programs; the swap stays up", lend},
      {"take-back", "", "take back the VRAM that was lent", take_back},
      {"run", "COMMAND...", "free VRAM for as long as COMMAND runs", run_command},
      {"reload", "", "replace the programs after an upgrade", reload},
  };
}

std::expected<po::variables_map, ExitCode> read_options(const Arguments& arguments,
                                                        po::options_description options,
                                                        const Help& help,
                                                        const Environment& environment,
                                                        Arguments* others) {
  options.add_options()("help,h", "show this text");
  auto values = parse_arguments(arguments, options, help.name, others);
  if (!values) return std::unexpected(report(environment, values.error(), kWrongUsage));
  if (values->count("help") != 0) {
    environment.out << help.before << options << help.after;
    return std::unexpected(kDone);
  }
  if (const auto applied = apply(*values); !applied) {
    return std::unexpected(report(environment, applied.error(), kWrongUsage));
  }
  return *std::move(values);
}

ExitCode report(const Environment& environment, const Error& error, ExitCode code) {
  if (!error.message.empty()) environment.err << "vramswap: " << error.message << '\n';
  return code;
}

Result<void> require_root(const Environment& environment, std::string_view command) {
  if (environment.is_root) return {};
  return fail(fmt::format("{} needs root: run it with sudo", command));
}

Result<ControlClient> connect_to_what_is_up(const Environment& environment) {
  auto client = connect_to_swap(environment);
  if (!client && no_daemon(client.error())) return fail("nothing is up");
  return client;
}

Result<ControlClient> connect_to_swap(const Environment& environment) {
  auto client = ControlClient::connect(environment.socket);
  if (client || !no_daemon(client.error()) || !has_orphans(environment.socket)) return client;
  if (!environment.is_root) {
    return fail(fmt::format("{}: {}", kDaemonDied, kStartAgain));
  }
  return environment.start_daemon(environment.socket);
}

}  // namespace vramswap::swapctl
