#include "cpp_chunk/robust_regression.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "profile_steps.h"

namespace cpp_chunk {
namespace {

TEST(RobustRegression, IsExactWhereTheStepsAre) {
  const std::vector<MeasuredStep> steps = profile(truth());
  FitWorkspace workspace(steps.size());
  RobustRegression regression(steps, workspace);
  regression.run();
  const FeatureRow found = regression.coefficients();
  const Coefficients expected = truth().coefficients();
  EXPECT_NEAR(found[0] / expected.quadratic, 1.0, 1e-6);
  EXPECT_NEAR(found[1] / expected.cross, 1.0, 1e-6);
  EXPECT_NEAR(found[2] / expected.linear, 1.0, 1e-6);
  EXPECT_NEAR(found[3] / expected.context, 1.0, 1e-6);
  EXPECT_NEAR(found[4] / expected.constant, 1.0, 1e-6);
  // All steps have their whole weight then.
  EXPECT_NEAR(regression.inlier_condition_number() / regression.condition_number(), 1.0, 1e-9);
}

TEST(RobustRegression, OutliersGetNoWeightAndNoSay) {
  std::vector<MeasuredStep> steps = profile(truth());
  steps[2].latency_ms *= 30.0;
  steps[9].latency_ms /= 30.0;
  steps[12].latency_ms *= 1.5;
  FitWorkspace workspace(steps.size() + 3);
  RobustRegression regression(steps, workspace);
  regression.run();
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const bool is_outlier = i == 2 || i == 9 || i == 12;
    EXPECT_NEAR(workspace.weights()[i], is_outlier ? 0.0 : 1.0, 1e-6);
  }
  const InlierErrors errors = regression.inlier_errors();
  EXPECT_EQ(errors.num_inliers, 13U);
  EXPECT_LT(errors.p95_relative, 1e-9);
}

TEST(RobustRegression, ReportsTheErrorThatNineteenOfTwentyStayBelow) {
  std::vector<MeasuredStep> steps = profile(truth());
  for (std::size_t i = 0; i < steps.size(); ++i) {
    steps[i].latency_ms *= 1.0 + 0.005 * static_cast<double>(i * 7 % 16);
  }
  FitWorkspace workspace(steps.size());
  RobustRegression regression(steps, workspace);
  regression.run();
  const InlierErrors errors = regression.inlier_errors();
  EXPECT_EQ(errors.num_inliers, 16U);
  const LatencyModel model(coefficients_of(regression.coefficients()));
  double worst = 0.0;
  for (const MeasuredStep& step : steps) {
    worst = std::max(worst, std::abs(model.step_ms(step.features) / step.latency_ms - 1.0));
  }
  // Of sixteen, fifteen are too few.
  EXPECT_NEAR(errors.p95_relative, worst, 1e-12);
  EXPECT_GT(errors.mean_relative, 0.0);
  EXPECT_LT(errors.mean_relative, worst);
}

}  // namespace
}  // namespace cpp_chunk
