// Parses the arguments of a command by its options.
#pragma once

#include <boost/program_options/options_description.hpp>
#include <boost/program_options/variables_map.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/error.hpp"

namespace vramswap::swapctl {

using Arguments = std::vector<std::string>;

// Options must not be abbreviated. Arguments that are not options go to `others`; they are an error
// without it. Does not run the notifiers of the options, which apply() does. `command` is for the
// hint in the error: "see vramswap up --help".
Result<boost::program_options::variables_map> parse_arguments(
    const Arguments& arguments, const boost::program_options::options_description& options,
    std::string_view command, Arguments* others = nullptr);
// Runs the notifiers of the given values. Returns the error that one throws.
Result<void> apply(boost::program_options::variables_map& values);

}  // namespace vramswap::swapctl
