// Directories, without exceptions.
#pragma once

#include <string>
#include <vector>

#include "daemon/base/error.hpp"

namespace vramswap {

// The names of all entries, in no particular order. A range-based for loop over a
// std::filesystem::directory_iterator throws where a later read of the directory fails.
Result<std::vector<std::string>> list_directory(const std::string& path);
// Only the entries that are directories; a link to one is not.
Result<std::vector<std::string>> list_subdirectories(const std::string& path);

}  // namespace vramswap
