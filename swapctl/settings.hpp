// The settings of `up`: one set of names for the command line and the config files.
#pragma once

#include <boost/program_options/options_description.hpp>
#include <string>

#include "daemon/base/error.hpp"
#include "daemon/control/protocol.hpp"

namespace vramswap::swapctl {

// Each setting checks its value and writes it to `request` when it is notified, so sources are
// applied from the weakest to the strongest. `request` must outlive what is returned.
boost::program_options::options_description up_settings(control::UpRequest& request);
// "size, priority, ...": for errors about a name that is none of them.
std::string names_of(const boost::program_options::options_description& settings);
// What can be judged only when every source has been applied: there is a size.
Result<void> check_complete(const control::UpRequest& request);

}  // namespace vramswap::swapctl
