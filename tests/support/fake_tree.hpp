// A directory that is gone after the test, for code that reads /proc and /sys.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>

namespace vramswap {

class FakeTree {
 public:
  FakeTree() {
    std::string name = std::filesystem::temp_directory_path() / "vramswap-test-XXXXXX";
    root_ = mkdtemp(name.data());
  }
  ~FakeTree() { std::filesystem::remove_all(root_); }
  FakeTree(const FakeTree&) = delete;

  std::string path(const std::string& relative = "") const { return root_ / relative; }
  void write(const std::string& relative, std::string_view text) const {
    std::filesystem::create_directories((root_ / relative).parent_path());
    std::ofstream(root_ / relative) << text;
  }
  std::string read(const std::string& relative) const {
    std::ostringstream text;
    text << std::ifstream(root_ / relative).rdbuf();
    return text.str();
  }

 private:
  std::filesystem::path root_;
};

}  // namespace vramswap
