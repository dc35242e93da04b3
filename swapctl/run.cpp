#include "swapctl/run.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <ostream>

namespace vramswap::swapctl {
namespace {

constexpr std::string_view kHelpBefore = R"(Turns the idle memory of NVIDIA GPUs into Linux swap.

Usage:
)";
constexpr std::string_view kHelpAfter = R"(  vramswap --help | --version

"vramswap COMMAND --help" says more about each. Sizes: G means GiB.

Exit codes:
  0 done, 1 failed, 2 wrong usage or config file, 3 status with nothing up

Files:
  /etc/vramswap.conf, /etc/vramswap.conf.d/*.conf   settings of up, and of bench
  /run/vramswap/control                             socket of vramswapd
)";
// The column of the summaries; a usage that reaches it has a line to itself.
constexpr std::size_t kSummaryColumn = 29;

std::string help_of(std::span<const Command> commands) {
  std::string text(kHelpBefore);
  for (const Command& command : commands) {
    const auto line = fmt::format("  vramswap {} {}", command.name, command.usage);
    const bool fits = line.size() < kSummaryColumn;
    text += fits ? line : line + '\n';
    text.append(fits ? kSummaryColumn - line.size() : kSummaryColumn, ' ');
    text += fmt::format("{}\n", command.summary);
  }
  text += kHelpAfter;
  return text;
}

// "up, down or status"
std::string names_of(std::span<const Command> commands) {
  std::string names;
  for (std::size_t i = 0; i < commands.size(); ++i) {
    if (i > 0) names += i + 1 == commands.size() ? " or " : ", ";
    names += commands[i].name;
  }
  return names;
}

int dispatch(const Arguments& arguments, std::span<const Command> commands,
             const Environment& environment) {
  if (arguments.empty()) {
    return report(environment,
                  {fmt::format("name a command: {} (see vramswap --help)", names_of(commands))},
                  kWrongUsage);
  }
  const std::string& name = arguments.front();
  const auto command = std::ranges::find(commands, name, &Command::name);
  if (command != commands.end()) {
    return command->run(Arguments(arguments.begin() + 1, arguments.end()), environment);
  }
  if (name == "--help" || name == "-h") {
    environment.out << help_of(commands);
    return kDone;
  }
  if (name == "--version" || name == "-V") {
    environment.out << "vramswap " VRAMSWAP_VERSION "\n";
    return kDone;
  }
  return report(
      environment,
      {fmt::format("unknown {} '{}': write {} (see vramswap --help)",
                   name.starts_with('-') ? "option" : "command", name, names_of(commands))},
      kWrongUsage);
}

}  // namespace

int run(std::span<const char* const> arguments, std::span<const Command> commands,
        const Environment& environment) {
  const int code = dispatch(Arguments(arguments.begin(), arguments.end()), commands, environment);
  if (!environment.out.flush()) {
    return report(environment, {"standard output: cannot be written"}, kFailed);
  }
  return code;
}

}  // namespace vramswap::swapctl
