// The scale of one chart.
#pragma once

#include <span>
#include <vector>

namespace vramswap::swapctl {

class Axis {
 public:
  // For bars of these lengths, of which there is at least one and all are above zero. Logarithmic
  // where the longest would leave the shortest no width.
  static Axis for_values(std::span<const double> values);

  bool is_logarithmic() const { return is_logarithmic_; }
  // From 0, the start of the axis, to 1, its end.
  double position(double value) const;
  // Where lines are drawn, ascending, the start and the end among them.
  const std::vector<double>& ticks() const { return ticks_; }

 private:
  Axis(bool is_logarithmic, std::vector<double> ticks)
      : is_logarithmic_(is_logarithmic), ticks_(std::move(ticks)) {}

  bool is_logarithmic_;
  std::vector<double> ticks_;
};

}  // namespace vramswap::swapctl
