// The commands that manage swap, and what all commands use.
#pragma once

#include <boost/program_options/options_description.hpp>
#include <boost/program_options/variables_map.hpp>
#include <expected>
#include <string_view>
#include <vector>

#include "swapctl/arguments.hpp"
#include "swapctl/environment.hpp"

namespace vramswap::swapctl {

// `vramswap --help` lists it as "vramswap NAME USAGE   SUMMARY".
struct Command {
  std::string_view name;
  std::string_view usage;
  std::string_view summary;
  // Takes the arguments after the name and returns an exit code.
  int (*run)(const Arguments& arguments, const Environment& environment);
};

// All but `bench` and `doctor`, which are libraries of their own: they read /proc and /sys.
std::vector<Command> swap_commands();

int up(const Arguments& arguments, const Environment& environment);
int down(const Arguments& arguments, const Environment& environment);
int status(const Arguments& arguments, const Environment& environment);
int lend(const Arguments& arguments, const Environment& environment);
int take_back(const Arguments& arguments, const Environment& environment);
int run_command(const Arguments& arguments, const Environment& environment);
int reload(const Arguments& arguments, const Environment& environment);

// What `vramswap NAME --help` prints around the list of options.
struct Help {
  std::string_view name;
  std::string_view before;
  std::string_view after;
};
// Parses the command's options and checks their values. Arguments that are not options go to
// `others`; they are an error without it. Where the arguments are wrong or ask for help, reports
// that and returns the exit code.
std::expected<boost::program_options::variables_map, ExitCode> read_options(
    const Arguments& arguments, boost::program_options::options_description options,
    const Help& help, const Environment& environment, Arguments* others = nullptr);

// Prints "vramswap: MESSAGE" and returns `code`; prints nothing for an empty message.
ExitCode report(const Environment& environment, const Error& error, ExitCode code);
inline constexpr const char* kDaemonDied = "vramswapd has died, and its swap is up";
inline constexpr const char* kStartAgain = "run 'sudo vramswap status', which starts it again";

// A connection to the running daemon. Where a daemon died with its swap up, root gets a connection
// to a new one that has taken the swap over. `no_daemon` errors mean that nothing is up.
Result<ControlClient> connect_to_swap(const Environment& environment);
// The same for a command that needs swap to be up: where nothing is, the error says so.
Result<ControlClient> connect_to_what_is_up(const Environment& environment);
// An error unless the user is root: only root may change the swap.
Result<void> require_root(const Environment& environment, std::string_view command);

}  // namespace vramswap::swapctl
