// The findings as text and as JSON.
#pragma once

#include <string>

#include "swapctl/doctor/finding.hpp"

namespace vramswap::swapctl {

// Raise it when a name in findings_json() changes its meaning or is removed.
inline constexpr int kDoctorJsonVersion = 1;

// A line for each finding, below it the advice, and a last line with the numbers.
std::string findings_text(const Findings& findings);
// {"version": 1, "findings": [{"name", "result", "text", "advice" or null}], "ok": 3, ...}
std::string findings_json(const Findings& findings);

}  // namespace vramswap::swapctl
