#include "daemon/base/directory.hpp"

#include <filesystem>

namespace vramswap {

Result<std::vector<std::string>> list_directory(const std::string& path) {
  std::error_code error;
  std::vector<std::string> names;
  for (std::filesystem::directory_iterator entry(path, error), end; !error && entry != end;
       entry.increment(error)) {
    names.push_back(entry->path().filename());
  }
  if (error) return fail_errno(path, "readdir", error.value());
  return names;
}

}  // namespace vramswap
