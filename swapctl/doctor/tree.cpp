#include "swapctl/doctor/tree.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "daemon/base/directory.hpp"
#include "daemon/system/proc.hpp"

namespace vramswap::swapctl {

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const auto begin = text.find_first_not_of(kSpace);
  if (begin == text.npos) return "";
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

std::optional<std::string> field_of(std::string_view text, std::string_view key) {
  std::istringstream lines{std::string(text)};
  for (std::string line; std::getline(lines, line);) {
    const std::string_view rest = line;
    if (!rest.starts_with(key) || rest.size() == key.size()) continue;
    const std::string_view value = trimmed(rest.substr(key.size()));
    if (value.starts_with(':') || value.starts_with('=')) {
      return std::string(trimmed(value.substr(1)));
    }
  }
  return std::nullopt;
}

bool Tree::exists(std::string_view path) const {
  std::error_code ignored;
  return std::filesystem::exists(this->path(path), ignored);
}

Result<std::string> Tree::read(std::string_view path) const {
  auto text = read_file(this->path(path));
  if (text && text->ends_with('\n')) text->pop_back();
  return text;
}

std::optional<std::string> Tree::field(std::string_view path, std::string_view key) const {
  return field_of(text(path), key);
}

std::vector<std::string> Tree::names(std::string_view directory) const {
  auto names = list_directory(path(directory)).value_or(std::vector<std::string>{});
  std::ranges::sort(names);
  return names;
}

std::optional<std::string> Tree::find(const std::vector<std::string>& directories,
                                      std::string_view name) const {
  for (const auto& directory : directories) {
    std::string file = fmt::format("{}/{}", directory, name);
    if (exists(file)) return file;
  }
  return std::nullopt;
}

Result<std::string> Tree::link(std::string_view path) const {
  std::error_code error;
  const auto target = std::filesystem::read_symlink(this->path(path), error);
  if (error) return fail_errno(path, "readlink", error.value());
  return target.string();
}

}  // namespace vramswap::swapctl
