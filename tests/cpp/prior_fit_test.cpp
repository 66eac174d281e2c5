#include "cpp_chunk/prior_fit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <vector>

#include "cpp_chunk/error.h"
#include "profile_steps.h"

namespace cpp_chunk {
namespace {

std::vector<MeasuredStep> prior() { return profile(truth()); }

std::vector<WeightedStep> repeated(const MeasuredStep& step, std::size_t times) {
  std::vector<WeightedStep> steps;
  steps.assign(times, {.step = step, .weight = 1.0});
  return steps;
}

double mean_error(const LatencyModel& model, const LatencyModel& expected) {
  double sum = 0.0;
  for (const MeasuredStep& step : prior()) {
    sum += std::abs(model.step_ms(step.features) / expected.step_ms(step.features) - 1.0);
  }
  return sum / 16.0;
}

TEST(PriorFit, WithoutRecentStepsIsThePrior) {
  const PriorFitReport report = PriorFit(prior(), 8).fit({}, truth(), 1.0);
  EXPECT_LT(mean_error(report.fit.model, truth()), 1e-6);
  EXPECT_NEAR(report.scale, 1.0, 1e-9);
  EXPECT_EQ(report.fit.num_points, 16U);
  EXPECT_EQ(report.fit.num_outliers, 0U);
}

TEST(PriorFit, OneKindOfStepAtTheSpeedExpectedIsTheSpeedOfAll) {
  const auto recent = repeated(measured(truth(), {2048, 0}, 1.5), 64);
  const PriorFitReport report = PriorFit(prior(), 64).fit(recent, truth().scaled(1.5), 1.5);
  EXPECT_NEAR(report.scale, 1.5, 1e-6);
  EXPECT_LT(mean_error(report.fit.model, truth().scaled(1.5)), 1e-6);
}

TEST(PriorFit, CountsThePriorTheSameAtAnySpeed) {
  PriorFit fit(prior(), 8);
  const auto scale_of = [&fit](double speed) {
    std::vector<WeightedStep> recent;
    for (const Chunk& chunk : {Chunk{4096, 0}, Chunk{4096, 8192}, Chunk{256, 256}}) {
      recent.push_back({.step = measured(truth(), chunk, 1.2 * speed), .weight = 1.0});
    }
    const PriorFitReport report = fit.fit(recent, truth().scaled(1.2 * speed), speed);
    return std::pair(report.scale / speed, report.fit.model.coefficients().linear /
                                               (speed * truth().coefficients().linear));
  };
  const auto [scale, linear] = scale_of(1.0);
  for (const double speed : {1e-3, 0.5, 2.0, 1e3}) {
    EXPECT_NEAR(scale_of(speed).first, scale, 1e-6);
    EXPECT_NEAR(scale_of(speed).second, linear, 1e-6);
  }
}

TEST(PriorFit, AStepTooFastPullsAsHardAsOneTooSlow) {
  PriorFit fit(prior(), 8);
  const auto log_scale_with = [&fit](double factor, std::size_t num_steps) {
    const auto recent = repeated(measured(truth(), {2048, 0}, factor), num_steps);
    return std::log(fit.fit(recent, truth(), 1.0).scale);
  };
  EXPECT_NEAR(log_scale_with(1.5, 2) / -log_scale_with(1.0 / 1.5, 2), 1.0, 0.05);
  EXPECT_NEAR(log_scale_with(2.0, 4) / -log_scale_with(0.5, 4), 1.0, 0.05);
}

TEST(PriorFit, FewStepsMoveTheSpeedALittle) {
  // How far depends on the weights of the prior (6) and of its factor (2).
  PriorFit fit(prior(), 64);
  const auto scale_with = [&fit](std::size_t num_steps) {
    return fit.fit(repeated(measured(truth(), {2048, 0}, 1.5), num_steps), truth(), 1.0).scale;
  };
  EXPECT_NEAR(scale_with(1), 1.09, 0.02);
  EXPECT_NEAR(scale_with(24), 1.24, 0.03);
}

TEST(PriorFit, StepsAsPredictedWeighAsTheirNeighbours) {
  PriorFit fit(prior(), 16);
  const auto scale_with = [&fit](double factor) {
    auto recent = repeated(measured(truth(), {2048, 0}, factor), 8);
    for (std::size_t i = 0; i < 4; ++i) {
      recent[i].step.latency_ms *= 1.2;
    }
    return fit.fit(recent, truth(), 1.0).scale;
  };
  EXPECT_NEAR(scale_with(1.0), scale_with(1.0 + 1e-9), 1e-8);
}

TEST(PriorFit, OutliersCountNothing) {
  auto recent = repeated(measured(truth(), {2048, 4096}), 20);
  recent[3].step.latency_ms *= 30.0;
  recent[7].step.latency_ms /= 30.0;
  recent[9].step.latency_ms = 1e-308;
  recent[11].step.latency_ms = 1e308;
  const PriorFitReport report = PriorFit(prior(), 20).fit(recent, truth(), 1.0);
  EXPECT_EQ(report.fit.num_points, 36U);
  EXPECT_EQ(report.fit.num_outliers, 4U);
  EXPECT_LT(mean_error(report.fit.model, truth()), 1e-6);
}

TEST(PriorFit, WeighsSteps) {
  PriorFit fit(prior(), 64);
  const auto recent = repeated(measured(truth(), {2048, 0}, 1.5), 64);
  auto light = recent;
  std::ranges::for_each(light, [](WeightedStep& step) { step.weight = 1e-6; });
  EXPECT_NEAR(fit.fit(light, truth(), 1.0).scale, 1.0, 1e-3);
  EXPECT_GT(fit.fit(recent, truth(), 1.0).scale, 1.2);
}

TEST(PriorFit, StepsOfNoWeightNeitherWidenNorSpoil) {
  auto recent = repeated(measured(truth(), {2048, 0}), 64);
  for (std::size_t i = 0; i < 48; ++i) {
    recent[i] = {.step = measured(truth(), {2048, 0}, i < 40 ? 1.08 : 1.15), .weight = 1e-12};
  }
  const FitReport report = PriorFit(prior(), 64).fit(recent, truth(), 1.0).fit;
  // What noise is granted is the others': 9.4 % is its limit.
  EXPECT_EQ(report.num_outliers, 8U);
  EXPECT_LT(report.p95_relative_error, 1e-6);
  EXPECT_LT(report.mean_relative_error, 1e-6);
}

TEST(PriorFit, ReportsWhatIsLeft) {
  std::mt19937 random(1);
  std::normal_distribution<double> noise(0.0, 0.1);
  std::vector<WeightedStep> recent;
  for (int i = 0; i < 64; ++i) {
    const Chunk chunk{512 * (1 + i % 8), 4096 * (i % 5)};
    recent.push_back({.step = measured(truth(), chunk, std::exp(noise(random))), .weight = 1.0});
  }
  const PriorFitReport report = PriorFit(prior(), 64).fit(recent, truth(), 1.0);
  EXPECT_NEAR(report.fit.mean_relative_error, 0.08, 0.025);
  EXPECT_GT(report.fit.p95_relative_error, report.fit.mean_relative_error);
  EXPECT_LT(report.fit.p95_relative_error, 0.3);
  EXPECT_GT(report.fit.condition_number, 1.0);
}

TEST(PriorFit, RefusesStepsThatNoModelDescribes) {
  std::vector<WeightedStep> recent;
  for (int i = 0; i < 64; ++i) {
    const double factor = std::exp(4.0 * (i % 9 - 4) / 4.0);
    recent.push_back({.step = measured(truth(), {2048, 4096}, factor), .weight = 1.0});
  }
  try {
    (void)PriorFit(prior(), 64).fit(recent, truth(), 1.0);
    FAIL() << "not refused";
  } catch (const FitRefused& refused) {
    EXPECT_EQ(refused.reason(), RefusalReason::bad_residual);
  }
}

TEST(PriorFit, ReportsTheErrorThatNineteenOfTwentyStayBelow) {
  std::vector<MeasuredStep> noisy = prior();
  for (std::size_t i = 0; i < noisy.size(); ++i) {
    noisy[i].latency_ms *= 1.0 + 0.01 * static_cast<double>(i * 7 % 16);
  }
  const PriorFitReport report = PriorFit(noisy, 8).fit({}, truth(), 1.0);
  double worst = 0.0;
  for (const MeasuredStep& step : noisy) {
    const double predicted_ms = report.fit.model.step_ms(step.features);
    worst = std::max(worst, std::abs(predicted_ms / (report.scale * step.latency_ms) - 1.0));
  }
  // Of sixteen that weigh the same, fifteen are too few.
  EXPECT_DOUBLE_EQ(report.fit.p95_relative_error, worst);
}

TEST(PriorFit, SaysWhichCoefficientsAreAtZero) {
  std::vector<MeasuredStep> steps = prior();
  // The more history, the faster: no model has that.
  for (MeasuredStep& step : steps) {
    step.latency_ms -= 6e-4 * step.features.context_sum;
  }
  const PriorFitReport report = PriorFit(steps, 8).fit({}, truth(), 1.0);
  EXPECT_EQ(report.fit.model.coefficients().context, 0.0);
  EXPECT_EQ(report.fit.at_bound, (std::array{false, false, false, true, false}));
}

TEST(PriorFit, RefusesAPriorOfOneKindOfStep) {
  const std::vector<MeasuredStep> same(16, measured(truth(), {2048, 4096}));
  PriorFit fit(same, 8);
  try {
    (void)fit.fit({}, truth(), 1.0);
    FAIL() << "fitted five coefficients to one kind of step";
  } catch (const FitRefused& refused) {
    EXPECT_EQ(refused.reason(), RefusalReason::rank_deficient);
  }
}

TEST(PriorFit, RefusesCoefficientsBeyondAllNumbers) {
  // The prior's own are large, and the device is as much slower.
  const LatencyModel dear = truth().scaled(1e140);
  std::vector<MeasuredStep> steps;
  for (const MeasuredStep& step : prior()) {
    steps.push_back({.features = step.features, .latency_ms = 1e140 * step.latency_ms});
  }
  EXPECT_THROW((void)PriorFit(steps, 8).fit({}, dear, 1e180), FitRefused);
}

TEST(PriorFit, RefusesBadArguments) {
  PriorFit fit(prior(), 2);
  EXPECT_THROW((void)fit.fit(repeated(measured(truth(), {1, 0}), 3), truth(), 1.0),
               InvalidArgument);
  EXPECT_THROW(PriorFit({}, 2), InvalidArgument);
  const std::vector<MeasuredStep> no_history(8, measured(truth(), {256, 0}));
  EXPECT_THROW(PriorFit(no_history, 2), InvalidArgument);
}

}  // namespace
}  // namespace cpp_chunk
