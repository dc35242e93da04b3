// The scale of one chart.
#pragma once

#include <span>
#include <vector>

namespace vramswap::swapctl {

class Axis {
 public:
  // For bars of these lengths; there must be at least one, and all must be above zero. The axis is
  // logarithmic if the shortest bar would have no width beside the longest.
  static Axis for_values(std::span<const double> values);

  bool is_logarithmic() const { return is_logarithmic_; }
  // 0 is the start of the axis, 1 its end.
  double position(double value) const;
  // The values at which lines are drawn, ascending, with the start and the end.
  const std::vector<double>& ticks() const { return ticks_; }

 private:
  Axis(bool is_logarithmic, std::vector<double> ticks)
      : is_logarithmic_(is_logarithmic), ticks_(std::move(ticks)) {}

  bool is_logarithmic_;
  std::vector<double> ticks_;
};

}  // namespace vramswap::swapctl
