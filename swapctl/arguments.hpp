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

// Options may not be abbreviated. Arguments that are no options go to `others`, and are an error
// without it. Values are handed to their notifiers only by apply(). `command` is for the hint in
// the error: "see vramswap up --help".
Result<boost::program_options::variables_map> parse_arguments(
    const Arguments& arguments, const boost::program_options::options_description& options,
    std::string_view command, Arguments* others = nullptr);
// Runs the notifiers of the values that are there; what one throws is returned.
Result<void> apply(boost::program_options::variables_map& values);

}  // namespace vramswap::swapctl
