// Config files: "key = value" lines with the names of the settings, # starts a comment.
#pragma once

#include <boost/program_options/options_description.hpp>
#include <boost/program_options/variables_map.hpp>
#include <filesystem>

#include "daemon/base/error.hpp"

namespace vramswap::swapctl {

struct ConfigPaths {
  // Either may be missing.
  std::filesystem::path file = "/etc/vramswap.conf";
  std::filesystem::path directory = "/etc/vramswap.conf.d";
};

// Applies the file, then *.conf of the directory in name order, so that the later wins. Errors
// read "FILE:LINE: what is wrong".
Result<void> apply_config(const ConfigPaths& paths,
                          const boost::program_options::options_description& settings);
// One file, which must exist.
Result<void> apply_config_file(const std::filesystem::path& path,
                               const boost::program_options::options_description& settings);

// Those files, or the one that --config names, and over them the command line. It has been applied
// before, for its errors to come first.
Result<void> apply_sources(boost::program_options::variables_map& arguments,
                           const boost::program_options::options_description& settings,
                           const ConfigPaths& paths);

}  // namespace vramswap::swapctl
