#include "swapctl/bench/axis.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vramswap::swapctl {
namespace {

using testing::DoubleEq;
using testing::ElementsAre;
using testing::Pointwise;

Axis axis_for(std::vector<double> values) {
  return Axis::for_values(values);
}

TEST(Axis, LinearWhereAllBarsCanBeSeen) {
  const auto axis = axis_for({0.9, 2.7});
  EXPECT_FALSE(axis.is_logarithmic());
  EXPECT_THAT(axis.ticks(),
              Pointwise(testing::DoubleNear(1e-9), std::vector{0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0}));
  EXPECT_DOUBLE_EQ(axis.position(0), 0);
  EXPECT_DOUBLE_EQ(axis.position(1.5), 0.5);
  EXPECT_DOUBLE_EQ(axis.position(3), 1);
}

TEST(Axis, LogarithmicOverDecades) {
  const auto axis = axis_for({100, 55000});
  EXPECT_TRUE(axis.is_logarithmic());
  EXPECT_THAT(axis.ticks(),
              Pointwise(testing::DoubleNear(1e-6), std::vector{10.0, 100.0, 1e3, 1e4, 1e5}));
  EXPECT_NEAR(axis.position(1000), 0.5, 1e-9);
  EXPECT_GT(axis.position(100), 0);
  EXPECT_LT(axis.position(55000), 1);
}

TEST(Axis, EveryBarIsWithinIt) {
  for (const double value : {1e-6, 0.3, 1.0, 7.0, 10.0, 1e9}) {
    for (const double factor : {1.0, 5.0, 20.0, 21.0, 1e6}) {
      const auto axis = axis_for({value, value * factor});
      EXPECT_LE(axis.ticks().front(), value);
      EXPECT_GE(axis.ticks().back(), value * factor * (1 - 1e-9));
      EXPECT_GT(axis.position(value), 0) << value << " x " << factor;
      EXPECT_LE(axis.ticks().size(), 25U);
    }
  }
}

}  // namespace
}  // namespace vramswap::swapctl
