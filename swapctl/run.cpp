#include "swapctl/run.hpp"

#include <fmt/format.h>

#include <ostream>
#include <utility>

#include "swapctl/commands.hpp"

namespace vramswap::swapctl {
namespace po = boost::program_options;

namespace {

constexpr std::string_view kHelp = R"(Turns the idle memory of NVIDIA GPUs into Linux swap.

Usage:
  vramswap up [options]      make swap of VRAM; starts vramswapd if it does not run
  vramswap down [--force]    bring every swapped page back and free the VRAM
  vramswap status [--json] [--watch [SECONDS]]
                             show what is up, and what it has served
  vramswap reload            after an upgrade: replace the programs, with the swap up
  vramswap bench [options]   measure the swap of this machine
  vramswap --help | --version

"vramswap COMMAND --help" says more about each. Sizes: G means GiB.

Exit codes:
  0 done, 1 failed, 2 wrong usage or config file, 3 status with nothing up

Files:
  /etc/vramswap.conf, /etc/vramswap.conf.d/*.conf   settings of up, and of bench
  /run/vramswap/control                             socket of the running vramswapd
)";

int dispatch(const Arguments& words, const Environment& environment) {
  if (words.empty()) {
    return report(environment,
                  {"say what to do: up, down, status, reload or bench (see vramswap --help)"},
                  kWrongUsage);
  }
  const std::string& command = words.front();
  const Arguments rest(words.begin() + 1, words.end());
  if (command == "up") return up(rest, environment);
  if (command == "down") return down(rest, environment);
  if (command == "status") return status(rest, environment);
  if (command == "reload") return reload(rest, environment);
  if (command == "bench") return bench(rest, environment);
  if (command == "--help" || command == "-h") {
    environment.out << kHelp;
    return kDone;
  }
  if (command == "--version" || command == "-V") {
    environment.out << "vramswap " VRAMSWAP_VERSION "\n";
    return kDone;
  }
  return report(
      environment,
      {fmt::format("unknown {} '{}': write up, down, status, reload or bench (see vramswap --help)",
                   command.starts_with('-') ? "option" : "command", command)},
      kWrongUsage);
}

}  // namespace

std::expected<po::variables_map, ExitCode> read_words(const Arguments& words,
                                                      po::options_description options,
                                                      const Help& help,
                                                      const Environment& environment,
                                                      Arguments* others) {
  options.add_options()("help,h", "show this text");
  auto values = parse_arguments(words, options, help.name, others);
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
  if (!error.message.empty()) environment.err << "vramswap: " << error.message << std::endl;
  return code;
}

Result<void> require_root(const Environment& environment, std::string_view command) {
  if (environment.is_root) return {};
  return fail(fmt::format("{} needs root: run it with sudo", command));
}

Result<ControlClient> connect_to_swap(const Environment& environment) {
  auto client = ControlClient::connect(environment.socket);
  if (client || !no_daemon(client.error()) || !has_orphans(environment.socket)) return client;
  if (!environment.is_root) {
    return fail(
        "vramswapd has died, and its swap is up: run 'sudo vramswap status', which starts it "
        "again");
  }
  return environment.start_daemon(environment.socket);
}

int run(std::span<const char* const> words, const Environment& environment) {
  const int code = dispatch(Arguments(words.begin(), words.end()), environment);
  if (!environment.out.flush()) {
    return report(environment, {"standard output: cannot be written"}, kFailed);
  }
  return code;
}

}  // namespace vramswap::swapctl
