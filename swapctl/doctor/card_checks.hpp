// The settings of the cards, and their free memory.
#pragma once

#include "cuda/device_survey.hpp"
#include "swapctl/doctor/driver_checks.hpp"

namespace vramswap::swapctl {

// NVML's answer; an error: it was not asked, or failed.
using Survey = Result<std::vector<cuda::SurveyedDevice>>;
// Asks NVML, but only if no card sleeps, because NVML wakes all cards, and if the driver's device
// file exists, because NVML makes it and loads the driver.
Survey survey(const Tree& tree, const std::vector<Card>& cards);

Finding check_compute_mode(const Survey& survey);
// A finding for each card: its free memory, and the part that size "max" would take.
Findings check_free_memory(const Tree& tree, const Survey& survey);
Finding check_display(const Tree& tree, const std::vector<Card>& cards);
Finding check_suspend(const Tree& tree);
Finding check_persistence(const Tree& tree, const Survey& survey);

// Empty if there is no card.
Findings card_findings(const Tree& tree, const std::vector<Card>& cards, const Survey& survey);

}  // namespace vramswap::swapctl
