// Compares a finding with its result and with parts of its lines.
#pragma once

#include <gmock/gmock.h>

#include <ostream>
#include <string>

#include "swapctl/doctor/finding.hpp"
#include "swapctl/doctor/tree.hpp"
#include "tests/support/fake_tree.hpp"

namespace vramswap::swapctl {

inline void PrintTo(const Finding& finding, std::ostream* out) {
  *out << finding.name << ": " << to_string(finding.result) << ": " << finding.text << " -> "
       << finding.advice;
}

inline auto is(Outcome result, const std::string& text, const std::string& advice) {
  return testing::AllOf(testing::Field("result", &Finding::result, result),
                        testing::Field("text", &Finding::text, testing::HasSubstr(text)),
                        testing::Field("advice", &Finding::advice, testing::HasSubstr(advice)));
}
// Nothing needs to be done.
inline auto is_ok(const std::string& text = "") {
  return testing::AllOf(testing::Field("result", &Finding::result, Outcome::ok),
                        testing::Field("text", &Finding::text, testing::HasSubstr(text)),
                        testing::Field("advice", &Finding::advice, ""));
}
inline auto warns(const std::string& text, const std::string& advice) {
  return is(Outcome::warning, text, advice);
}
inline auto fails(const std::string& text, const std::string& advice) {
  return is(Outcome::failure, text, advice);
}
inline auto is_unknown(const std::string& text, const std::string& advice) {
  return is(Outcome::unknown, text, advice);
}

// Checks on a machine of the test's own.
struct CheckTest : testing::Test {
  void link(const std::string& path, const std::string& target) const {
    const std::filesystem::path file = files.path(path);
    std::filesystem::create_directories(file.parent_path());
    std::filesystem::remove(file);
    std::filesystem::create_symlink(target, file);
  }
  void remove(const std::string& path) const { std::filesystem::remove_all(files.path(path)); }

  const FakeTree files;
  const Tree tree{files.path()};
};

}  // namespace vramswap::swapctl
