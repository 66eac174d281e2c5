#include "cpp_chunk/drift.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace cpp_chunk {
namespace {

std::array<double, kDriftSteps> all(double log_ratio) {
  std::array<double, kDriftSteps> log_ratios{};
  log_ratios.fill(log_ratio);
  return log_ratios;
}

TEST(Drift, IsTheFactorThatStepsAreOffBy) {
  for (const double factor : {1.5, 0.5, 1.1, 30.0}) {
    const auto found = drift_factor(all(std::log(factor)), 0.0);
    ASSERT_TRUE(found.has_value());
    EXPECT_NEAR(*found, factor, 1e-12 * factor);
  }
}

TEST(Drift, IsTheMedianOfTheSteps) {
  auto log_ratios = all(std::log(1.5));
  log_ratios.front() = std::log(30.0);
  log_ratios.back() = -std::log(30.0);
  EXPECT_NEAR(drift_factor(log_ratios, 0.0).value_or(0.0), 1.5, 1e-12);
  // Of an even number: half way between the two in the middle, each of which would be elsewhere.
  for (std::size_t i = 0; i < kDriftSteps; ++i) {
    log_ratios.at(kDriftSteps - 1 - i) = 0.1 * static_cast<double>((i + 1) * (i + 1));
  }
  EXPECT_NEAR(drift_factor(log_ratios, 0.0).value_or(0.0), std::exp(0.1 * (36 + 49) / 2), 1e-9);
}

TEST(Drift, IsNoneWhereStepsAreAsPredicted) {
  EXPECT_FALSE(drift_factor(all(0.0), 0.0).has_value());
  EXPECT_FALSE(drift_factor(all(0.07), 0.0).has_value());
  EXPECT_FALSE(drift_factor(all(-0.07), 0.0).has_value());
}

TEST(Drift, IsNoneWithinTheNoiseOfTheModel) {
  // One and a half times of it is.
  EXPECT_TRUE(drift_factor(all(0.2), 0.13).has_value());
  EXPECT_TRUE(drift_factor(all(-0.2), 0.13).has_value());
  EXPECT_FALSE(drift_factor(all(0.2), 0.14).has_value());
}

TEST(Drift, NeedsNearlyAllStepsOnOneSide) {
  auto log_ratios = all(0.5);
  log_ratios[0] = -0.5;
  log_ratios[5] = -0.5;
  EXPECT_TRUE(drift_factor(log_ratios, 0.0).has_value());
  log_ratios[7] = -0.5;
  EXPECT_FALSE(drift_factor(log_ratios, 0.0).has_value());
}

TEST(Drift, StepsAsPredictedAreOnNeitherSide) {
  for (const double log_ratio : {0.5, -0.5}) {
    auto log_ratios = all(log_ratio);
    log_ratios[2] = log_ratios[3] = 0.0;
    EXPECT_TRUE(drift_factor(log_ratios, 0.0).has_value());
    log_ratios[4] = 0.0;
    EXPECT_FALSE(drift_factor(log_ratios, 0.0).has_value());
  }
}

}  // namespace
}  // namespace cpp_chunk
