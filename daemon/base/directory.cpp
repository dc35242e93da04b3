#include "daemon/base/directory.hpp"

#include <filesystem>

namespace vramswap {
namespace {

template <class Predicate>
Result<std::vector<std::string>> list_if(const std::string& path, Predicate is_wanted) {
  std::error_code error;
  std::vector<std::string> names;
  for (std::filesystem::directory_iterator entry(path, error), end; !error && entry != end;
       entry.increment(error)) {
    if (is_wanted(*entry)) names.push_back(entry->path().filename());
  }
  if (error) return fail_errno(path, "readdir", error.value());
  return names;
}

}  // namespace

Result<std::vector<std::string>> list_directory(const std::string& path) {
  return list_if(path, [](const auto&) { return true; });
}

// readdir(3) reports the type of most entries, so few need a stat(2) call. An entry that is gone is
// not a directory.
Result<std::vector<std::string>> list_subdirectories(const std::string& path) {
  return list_if(path, [](const std::filesystem::directory_entry& entry) {
    std::error_code gone;
    return !entry.is_symlink(gone) && entry.is_directory(gone);
  });
}

}  // namespace vramswap
