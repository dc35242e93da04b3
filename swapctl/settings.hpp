// The settings of `up`: one set of names for the command line and the config files.
#pragma once

#include <boost/program_options/options_description.hpp>
#include <string>

#include "daemon/base/error.hpp"
#include "daemon/control/protocol.hpp"

namespace vramswap::swapctl {

// When a setting is notified, it checks its value and writes it to `request`. So apply the source
// that wins last. `request` must outlive the returned object.
boost::program_options::options_description up_settings(control::UpRequest& request);
// "size, priority, ...": for the error about an unknown name.
std::string names_of(const boost::program_options::options_description& settings);
// Checks that there is a size. Call it after all sources have been applied.
Result<void> check_complete(const control::UpRequest& request);

}  // namespace vramswap::swapctl
