// The machine's files, or a fake tree of them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/base/error.hpp"

namespace vramswap::swapctl {

class Tree {
 public:
  // Every path below is an absolute one of the machine, and is looked for in `root`.
  explicit Tree(std::string root = "") : root_(std::move(root)) {}

  std::string path(std::string_view path) const { return root_ + std::string(path); }
  bool exists(std::string_view path) const;
  // Without the newline at the end. The code of an error tells a file that is not there (ENOENT)
  // from one that this user may not read (EACCES).
  Result<std::string> read(std::string_view path) const;
  // The same; empty if it cannot be read.
  std::string text(std::string_view path) const { return read(path).value_or(""); }
  // The text after "KEY:" or "KEY=" at the beginning of a line, without white space around it.
  std::optional<std::string> field(std::string_view path, std::string_view key) const;
  // The names in a directory, sorted; none if it cannot be read.
  std::vector<std::string> names(std::string_view directory) const;
  // The first of the directories that has such a file: its path, without the root.
  std::optional<std::string> find(const std::vector<std::string>& directories,
                                  std::string_view name) const;
  Result<std::string> link(std::string_view path) const;

 private:
  std::string root_;
};

// The same as Tree::field() in a text.
std::optional<std::string> field_of(std::string_view text, std::string_view key);
std::string_view trimmed(std::string_view text);

}  // namespace vramswap::swapctl
