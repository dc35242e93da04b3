#include "swapctl/doctor/report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "daemon/base/json.hpp"

namespace vramswap::swapctl {
namespace {

using Json = nlohmann::ordered_json;  // as written here, not by name

constexpr std::array kOutcomes{Outcome::failure, Outcome::warning, Outcome::unknown, Outcome::ok};

std::ptrdiff_t count_of(const Findings& findings, Outcome outcome) {
  return std::ranges::count(findings, outcome, &Finding::result);
}

}  // namespace

std::string_view to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::ok:
      return "ok";
    case Outcome::warning:
      return "warning";
    case Outcome::failure:
      return "failure";
    case Outcome::unknown:
      return "unknown";
  }
  return "?";
}

std::string findings_text(const Findings& findings) {
  constexpr std::size_t kOutcomeWidth = 7;
  std::size_t name_width = 0;
  for (const auto& finding : findings) name_width = std::max(name_width, finding.name.size());
  std::string text;
  for (const auto& finding : findings) {
    text += fmt::format("{:<{}}  {:<{}}  {}\n", to_string(finding.result), kOutcomeWidth,
                        finding.name, name_width, finding.text);
    if (finding.advice.empty()) continue;
    text += fmt::format("{:{}}  -> {}\n", "", kOutcomeWidth, finding.advice);
  }
  std::string numbers;
  for (const Outcome outcome : kOutcomes) {
    const auto count = count_of(findings, outcome);
    const bool has_plural = outcome == Outcome::failure || outcome == Outcome::warning;
    numbers += fmt::format("{}{} {}{}", numbers.empty() ? "" : ", ", count, to_string(outcome),
                           has_plural && count != 1 ? "s" : "");
  }
  return text + numbers + '\n';
}

std::string findings_json(const Findings& findings) {
  Json json = {{"version", kDoctorJsonVersion}, {"findings", Json::array()}};
  for (const auto& finding : findings) {
    json["findings"].push_back(
        {{"name", finding.name},
         {"result", to_string(finding.result)},
         {"text", finding.text},
         {"advice", finding.advice.empty() ? Json() : Json(finding.advice)}});
  }
  for (const Outcome outcome : kOutcomes) {
    json[std::string(to_string(outcome))] = count_of(findings, outcome);
  }
  return json.dump(2) + '\n';
}

}  // namespace vramswap::swapctl
