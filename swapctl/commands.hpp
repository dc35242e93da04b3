// The commands. Each takes the words after its name and returns an exit code.
#pragma once

#include <boost/program_options/options_description.hpp>
#include <boost/program_options/variables_map.hpp>
#include <expected>
#include <string_view>

#include "swapctl/arguments.hpp"
#include "swapctl/run.hpp"

namespace vramswap::swapctl {

int up(const Arguments& words, const Environment& environment);
int down(const Arguments& words, const Environment& environment);
int status(const Arguments& words, const Environment& environment);
int reload(const Arguments& words, const Environment& environment);
int bench(const Arguments& words, const Environment& environment);

// What `vramswap NAME --help` prints around the list of options.
struct Help {
  std::string_view name;
  std::string_view before;
  std::string_view after;
};
// The command's options, their values checked; other words go to `others`, if it takes any. Or the
// exit code, where the words are wrong or ask for help, and that has been dealt with.
std::expected<boost::program_options::variables_map, ExitCode> read_words(
    const Arguments& words, boost::program_options::options_description options, const Help& help,
    const Environment& environment, Arguments* others = nullptr);

// Prints "vramswap: MESSAGE" and returns `code`; prints nothing for an empty message.
ExitCode report(const Environment& environment, const Error& error, ExitCode code);
// A connection to the daemon that runs, or, where one has died with its swap up, to a new one that
// has taken it over. `no_daemon` errors mean that nothing is up.
Result<ControlClient> connect_to_swap(const Environment& environment);
// Root alone may change what is up.
Result<void> require_root(const Environment& environment, std::string_view command);

}  // namespace vramswap::swapctl
