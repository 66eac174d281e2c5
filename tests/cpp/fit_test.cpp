#include "cpp_chunk/fit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <initializer_list>
#include <sstream>
#include <string>
#include <vector>

#include "cpp_chunk/error.h"
#include "profile_steps.h"

namespace cpp_chunk {
namespace {

RefusalReason refusal(const std::vector<MeasuredStep>& steps) {
  try {
    (void)fit_latency_model(steps);
  } catch (const FitRefused& refused) {
    return refused.reason();
  }
  throw Error("the fit was not refused");
}

void expect_close(const LatencyModel& model, const LatencyModel& expected, double tolerance) {
  for (const MeasuredStep& step : profile(expected)) {
    EXPECT_NEAR(model.step_ms(step.features) / step.latency_ms, 1.0, tolerance);
  }
}

TEST(Fit, RecoversExactCoefficients) {
  const FitReport report = fit_latency_model(profile(truth()));
  const Coefficients& found = report.model.coefficients();
  const Coefficients expected = truth().coefficients();
  EXPECT_NEAR(found.quadratic / expected.quadratic, 1.0, 1e-6);
  EXPECT_NEAR(found.cross / expected.cross, 1.0, 1e-6);
  EXPECT_NEAR(found.linear / expected.linear, 1.0, 1e-6);
  EXPECT_NEAR(found.context / expected.context, 1.0, 1e-6);
  EXPECT_NEAR(found.constant / expected.constant, 1.0, 1e-6);
  EXPECT_EQ(report.num_points, 16U);
  EXPECT_EQ(report.num_outliers, 0U);
  EXPECT_LT(report.mean_relative_error, 1e-9);
  EXPECT_GT(report.condition_number, 1.0);
  EXPECT_TRUE(std::ranges::none_of(report.at_bound, [](bool bound) { return bound; }));
}

TEST(Fit, CoefficientsThatAreNotThereEndAtTheirBound) {
  const LatencyModel linear({.linear = 0.1, .constant = 5.0});
  const FitReport report = fit_latency_model(profile(linear));
  expect_close(report.model, linear, 1e-6);
  for (const double value :
       {report.model.coefficients().quadratic, report.model.coefficients().cross,
        report.model.coefficients().context}) {
    EXPECT_GE(value, 0.0);
    EXPECT_LT(value, 1e-9);
  }
}

TEST(Fit, NonNegativeWhereLeastSquaresWouldNotBe) {
  // A cost that falls with the history: the unconstrained context is negative.
  std::vector<MeasuredStep> steps = profile(LatencyModel({.linear = 0.1, .constant = 50.0}));
  for (MeasuredStep& step : steps) {
    step.latency_ms -= 1e-4 * step.features.context_sum;
  }
  const FitReport report = fit_latency_model(steps);
  EXPECT_EQ(report.model.coefficients().context, 0.0);
  EXPECT_TRUE(report.at_bound[3]);
}

TEST(Fit, SurvivesOneOutlierWhereverItIs) {
  for (const double factor : {30.0, 1.0 / 30.0}) {
    for (std::size_t outlier = 0; outlier < 16; ++outlier) {
      std::vector<MeasuredStep> steps = profile(truth());
      for (std::size_t i = 0; i < steps.size(); ++i) {
        steps[i].latency_ms *= 1.0 + 0.01 * std::sin(7.0 * static_cast<double>(i));
      }
      steps[outlier].latency_ms *= factor;
      const FitReport report = fit_latency_model(steps);
      SCOPED_TRACE(testing::Message() << "step " << outlier << " times " << factor);
      EXPECT_GE(report.num_outliers, 1U);
      for (const MeasuredStep& step : profile(truth())) {
        if (step.features.token_sum != steps[outlier].features.token_sum ||
            step.features.context_sum != steps[outlier].features.context_sum) {
          EXPECT_NEAR(report.model.step_ms(step.features) / step.latency_ms, 1.0, 0.05);
        }
      }
    }
  }
}

TEST(Fit, RefusesTwoChunkSizes) {
  // quadratic, linear and constant are three, and two sizes show two of them.
  std::vector<MeasuredStep> steps;
  for (std::int64_t i = 0; i < 8; ++i) {
    steps.push_back(measured(truth(), {1024, 1024 * i}));
    steps.push_back(measured(truth(), {4096, 4096 * i}));
  }
  EXPECT_EQ(refusal(steps), RefusalReason::rank_deficient);
}

TEST(Fit, RefusesTimesThatFollowNoModel) {
  std::vector<MeasuredStep> steps = profile(truth());
  for (std::size_t i = 0; i < steps.size(); ++i) {
    steps[i].latency_ms = i % 2 == 0 ? 10.0 : 1000.0 / static_cast<double>(i);
  }
  EXPECT_EQ(refusal(steps), RefusalReason::bad_residual);
}

TEST(Fit, RefusesWhatIsNoDataForAFit) {
  std::vector<MeasuredStep> steps = profile(truth());
  steps[3].latency_ms = 0.0;
  EXPECT_THROW((void)fit_latency_model(steps), InvalidArgument);
  EXPECT_EQ(refusal({}), RefusalReason::too_few_points);
}

TEST(Fit, ExtremeTimesAreTypedErrorsOrModels) {
  for (const double factor : {1e-300, 1e-150, 1e150, 1e300}) {
    std::vector<MeasuredStep> steps = profile(truth());
    for (MeasuredStep& step : steps) {
      step.latency_ms *= factor;
    }
    try {
      (void)fit_latency_model(steps);
    } catch (const Error& error) {
      EXPECT_STRNE(error.what(), "");
    }
  }
}

TEST(Fit, WorkspaceTooSmallIsInvalid) {
  FitWorkspace workspace(15);
  EXPECT_THROW((void)fit_latency_model(profile(truth()), workspace), InvalidArgument);
}

struct TimedChunk {
  std::string model;
  std::int64_t static_chunk_tokens = 0;
  MeasuredStep step;
};

std::vector<TimedChunk> read_timings() {
  std::ifstream file(CPP_CHUNK_TEST_DATA "/cpu_pp2_chunk_timings.csv");
  std::vector<TimedChunk> timings;
  std::string line;
  std::getline(file, line);
  while (std::getline(file, line)) {
    std::ranges::replace(line, ',', ' ');
    std::istringstream fields(line);
    TimedChunk timed;
    std::int64_t index = 0;
    Chunk chunk;
    double stage0_ms = 0.0;
    double stage1_ms = 0.0;
    fields >> timed.model >> timed.static_chunk_tokens >> index >> chunk.num_tokens >>
        chunk.num_computed_tokens >> stage0_ms >> stage1_ms;
    timed.step.features.add(chunk);
    timed.step.latency_ms = std::max(stage0_ms, stage1_ms);
    timings.push_back(timed);
  }
  return timings;
}

double held_out_error(const std::string& model, std::initializer_list<std::int64_t> held_out) {
  std::vector<MeasuredStep> fitted;
  std::vector<MeasuredStep> others;
  for (const TimedChunk& timed : read_timings()) {
    if (timed.model == model) {
      const bool is_held_out =
          std::ranges::find(held_out, timed.static_chunk_tokens) != held_out.end();
      (is_held_out ? others : fitted).push_back(timed.step);
    }
  }
  const FitReport report = fit_latency_model(fitted);
  double sum = 0.0;
  for (const MeasuredStep& step : others) {
    sum += std::abs(report.model.step_ms(step.features) / step.latency_ms - 1.0);
  }
  return sum / static_cast<double>(others.size());
}

TEST(Fit, PredictsMeasuredChunkSizesThatItHasNotSeen) {
  ASSERT_EQ(read_timings().size(), 186U);
  EXPECT_LT(held_out_error("tiny", {512, 2048}), 0.025);
  EXPECT_LT(held_out_error("tiny", {1024, 4096}), 0.025);
  EXPECT_LT(held_out_error("wide", {512, 2048}), 0.025);
  EXPECT_LT(held_out_error("wide", {1024, 4096}), 0.025);
}

}  // namespace
}  // namespace cpp_chunk
