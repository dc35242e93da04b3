#include "swapctl/bench/axis.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace vramswap::swapctl {
namespace {

constexpr double kLargestLinearRatio = 20;
constexpr double kMostSteps = 6;  // of a linear axis
// The start of a logarithmic axis is below the shortest bar, which would have no length there.
constexpr double kStartBelow = 0.7;

std::vector<double> decades(double min, double max) {
  std::vector<double> ticks;
  const double first = std::floor(std::log10(min * kStartBelow));
  const double last = std::max(first + 1, std::ceil(std::log10(max)));
  for (double exponent = first; exponent <= last; ++exponent) {
    ticks.push_back(std::pow(10, exponent));
  }
  return ticks;
}

// 1, 2 or 5 times a power of ten.
double round_step(double at_least) {
  const double power = std::pow(10, std::floor(std::log10(at_least)));
  for (const double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= at_least) return factor * power;
  }
  return 10 * power;
}

std::vector<double> even_steps(double max) {
  const double step = round_step(max / kMostSteps);
  std::vector<double> ticks = {0};
  while (ticks.back() < max) ticks.push_back(step * static_cast<double>(ticks.size()));
  return ticks;
}

}  // namespace

Axis Axis::for_values(std::span<const double> values) {
  const auto [min, max] = std::ranges::minmax(values);
  if (max > min * kLargestLinearRatio) return {true, decades(min, max)};
  return {false, even_steps(max)};
}

double Axis::position(double value) const {
  const auto scaled = [this](double v) { return is_logarithmic_ ? std::log10(v) : v; };
  const double low = scaled(ticks_.front());
  return std::clamp((scaled(value) - low) / (scaled(ticks_.back()) - low), 0.0, 1.0);
}

}  // namespace vramswap::swapctl
