// Config files: lines "key = value", where the keys are the names of the settings; # starts a
// comment.
#pragma once

#include <boost/program_options/options_description.hpp>
#include <boost/program_options/variables_map.hpp>
#include <filesystem>

#include "daemon/base/error.hpp"

namespace vramswap::swapctl {

struct ConfigPaths {
  // Both may be missing.
  std::filesystem::path file = "/etc/vramswap.conf";
  std::filesystem::path directory = "/etc/vramswap.conf.d";
};

// Applies the file, then *.conf of the directory in the order of their names, so the last one wins.
// An error is "FILE:LINE: what is wrong".
Result<void> apply_config(const ConfigPaths& paths,
                          const boost::program_options::options_description& settings);
// Applies one file, which must exist.
Result<void> apply_config_file(const std::filesystem::path& path,
                               const boost::program_options::options_description& settings);

// Applies the files of `paths`, or the one that --config names, then `arguments`, which win. The
// caller has applied `arguments` before, so their errors come first.
Result<void> apply_sources(boost::program_options::variables_map& arguments,
                           const boost::program_options::options_description& settings,
                           const ConfigPaths& paths);

}  // namespace vramswap::swapctl
