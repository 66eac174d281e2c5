#include "cpp_chunk/calibrator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <new>
#include <random>
#include <tuple>
#include <vector>

#include "cpp_chunk/drift.h"
#include "cpp_chunk/error.h"
#include "cpp_chunk/target.h"

namespace {

std::atomic<std::size_t> num_allocations = 0;

}  // namespace

// Every allocation of this test program is counted. Eigen's own go through malloc, and only for
// matrices without a fixed size, which the fit has none of. Not
// inlined: compilers then warn about malloc meeting delete.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++num_allocations;
  if (void* memory = std::malloc(size); memory != nullptr) {  // NOLINT(*-no-malloc)
    return memory;
  }
  throw std::bad_alloc();
}

// Whoever replaces one replaces both: AddressSanitizer minds a free that meets its own new.
[[gnu::noinline]] void* operator new(std::size_t size, const std::nothrow_t& /*tag*/) noexcept {
  ++num_allocations;
  return std::malloc(size);  // NOLINT(*-no-malloc)
}

[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }  // NOLINT
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}  // NOLINT

namespace cpp_chunk {
namespace {

constexpr Coefficients kKimi = {
    .quadratic = 6.5e-7, .cross = 5.0e-7, .linear = 6.03e-3, .context = 5.39e-4, .constant = 43.6};
constexpr Coefficients kTiny = {
    .quadratic = 9e-5, .cross = 9.5e-5, .linear = 0.05, .context = 2e-3, .constant = 4.0};
constexpr Coefficients kLinear = {
    .quadratic = 1e-8, .cross = 1e-8, .linear = 0.02, .context = 1e-6, .constant = 5.0};

LatencyModel slowed(double factor) { return LatencyModel(kKimi).scaled(factor); }

std::vector<MeasuredStep> profile(const LatencyModel& model) {
  std::vector<MeasuredStep> steps;
  for (const std::int64_t num_tokens : {8192, 4096, 1024, 256}) {
    for (const std::int64_t history : {0, 4096, 16384, 65536}) {
      MeasuredStep step;
      step.features.add({.num_tokens = num_tokens, .num_computed_tokens = history});
      step.latency_ms = model.step_ms(step.features);
      steps.push_back(step);
    }
  }
  return steps;
}

TEST(Calibrator, FitsTheProfileAlone) {
  Calibrator calibrator(profile(slowed(1.0)), 8);
  EXPECT_EQ(calibrator.refit().num_points, 16U);
  EXPECT_EQ(calibrator.capacity(), 8U);
  EXPECT_EQ(calibrator.num_recent(), 0U);
}

TEST(Calibrator, KeepsTheMostRecentSteps) {
  Calibrator calibrator({}, 16);
  for (const double factor : {5.0, 2.0}) {
    for (const MeasuredStep& step : profile(slowed(factor))) {
      EXPECT_TRUE(calibrator.add(step.features, step.latency_ms));
    }
  }
  EXPECT_EQ(calibrator.num_recent(), 16U);
  EXPECT_NEAR(calibrator.refit().model.coefficients().constant, 2.0 * 43.6, 1e-4);
}

TEST(Calibrator, CountsUnusableSamples) {
  Calibrator calibrator(profile(slowed(1.0)), 4);
  StepFeatures features;
  EXPECT_FALSE(calibrator.add(features, 1.0));
  features.add({.num_tokens = 10, .num_computed_tokens = 0});
  EXPECT_FALSE(calibrator.add(features, 0.0));
  EXPECT_FALSE(calibrator.add(features, -1.0));
  EXPECT_FALSE(calibrator.add(features, std::numeric_limits<double>::quiet_NaN()));
  EXPECT_FALSE(calibrator.add(features, std::numeric_limits<double>::infinity()));
  EXPECT_EQ(calibrator.num_rejected(), 5U);
  EXPECT_EQ(calibrator.num_recent(), 0U);
}

TEST(Calibrator, AllocatesNothingAfterConstruction) {
  const std::vector<MeasuredStep> steps = profile(slowed(1.1));
  const std::vector<MeasuredStep> drifted = profile(slowed(3.0));
  Calibrator calibrator(profile(slowed(1.0)), 32);
  const std::size_t before = num_allocations;
  for (int round = 0; round < 5; ++round) {
    for (const MeasuredStep& step : steps) {
      (void)calibrator.add(step.features, step.latency_ms);
    }
    (void)calibrator.refit();
  }
  for (const MeasuredStep& step : drifted) {
    (void)calibrator.add(step.features, step.latency_ms);
  }
  (void)calibrator.refit();
  EXPECT_EQ(num_allocations, before);
  EXPECT_GE(calibrator.num_drifts(), 1U);
}

std::vector<MeasuredStep> noisy(std::vector<MeasuredStep> steps, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> noise(0.0, 0.03);
  for (MeasuredStep& step : steps) {
    step.latency_ms *= std::exp(noise(random));
  }
  return steps;
}

// What long prompts are served as: chunks that become smaller with the history.
std::vector<MeasuredStep> served(const LatencyModel& model, std::size_t num_steps) {
  std::mt19937 random(7);
  std::vector<MeasuredStep> steps;
  std::int64_t history = 0;
  std::int64_t left = 0;
  while (steps.size() < num_steps) {
    if (left == 0) {
      history = 0;
      left = std::uniform_int_distribution<std::int64_t>(16384, 65536)(random);
    }
    const std::int64_t num_tokens = std::min(left, 4096 - history / 32);
    MeasuredStep step;
    step.features.add({.num_tokens = num_tokens, .num_computed_tokens = history});
    step.latency_ms = model.step_ms(step.features);
    steps.push_back(step);
    history += num_tokens;
    left -= num_tokens;
  }
  return steps;
}

// Refits after every eighth step, as the engine does.
LatencyModel follow(Calibrator& calibrator, const std::vector<MeasuredStep>& steps) {
  LatencyModel model;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    EXPECT_TRUE(calibrator.add(steps[i].features, steps[i].latency_ms));
    if (i % 8 == 7) {
      model = calibrator.refit().model;
    }
  }
  return model;
}

double mean_error(const LatencyModel& model, const std::vector<MeasuredStep>& steps) {
  double sum = 0.0;
  for (const MeasuredStep& step : steps) {
    sum += std::abs(model.step_ms(step.features) / step.latency_ms - 1.0);
  }
  return sum / static_cast<double>(steps.size());
}

TEST(Calibrator, WithoutRecentStepsReportsTheProfilesFit) {
  const auto steps = noisy(profile(slowed(1.0)), 1);
  Calibrator calibrator(steps, 8);
  const FitReport expected = fit_latency_model(steps);
  const FitReport report = calibrator.refit();
  EXPECT_EQ(report.model, expected.model);
  EXPECT_EQ(report.mean_relative_error, expected.mean_relative_error);
  EXPECT_GT(report.mean_relative_error, 0.0);
  EXPECT_EQ(calibrator.scale(), 1.0);
}

TEST(Calibrator, FollowsADriftOfEverything) {
  for (const Coefficients& costs : {kKimi, kTiny, kLinear}) {
    for (const double factor : {1.5, 0.6, 3.0}) {
      const LatencyModel before(costs);
      const LatencyModel now = before.scaled(factor);
      Calibrator calibrator(noisy(profile(before), 1), 128);
      (void)follow(calibrator, noisy(served(before, 128), 2));
      EXPECT_EQ(calibrator.num_drifts(), 0U);
      const LatencyModel found = follow(calibrator, noisy(served(now, 64), 3));
      EXPECT_LT(mean_error(found, served(now, 200)), 0.03);
      EXPECT_LT(mean_error(found, profile(now)), 0.04);
      EXPECT_GE(calibrator.num_drifts(), 1U);
      EXPECT_NEAR(calibrator.scale(), factor, 0.1 * factor);
    }
  }
}

TEST(Calibrator, FollowsADriftOfOneCoefficient) {
  for (const Coefficients& costs : {kKimi, kTiny, kLinear}) {
    for (double Coefficients::* const cost :
         {&Coefficients::quadratic, &Coefficients::cross, &Coefficients::linear,
          &Coefficients::context, &Coefficients::constant}) {
      for (const double factor : {1.6, 0.6}) {
        Coefficients drifted = costs;
        drifted.*cost *= factor;
        const LatencyModel before(costs);
        const LatencyModel now(drifted);
        Calibrator calibrator(noisy(profile(before), 1), 128);
        (void)follow(calibrator, noisy(served(before, 128), 2));
        const LatencyModel found = follow(calibrator, noisy(served(now, 64), 3));
        EXPECT_LT(mean_error(found, served(now, 200)), 0.06);
      }
    }
  }
}

TEST(Calibrator, FewTokensSayLittleOfPrefills) {
  for (const Coefficients& costs : {kKimi, kTiny, kLinear}) {
    for (const double factor : {1.6, 1.0 / 1.6}) {
      const LatencyModel model(costs);
      Calibrator calibrator(profile(model), 128);
      for (int i = 0; i < 3; ++i) {
        StepFeatures features;
        features.add({.num_tokens = 8, .num_computed_tokens = 0});
        EXPECT_TRUE(calibrator.add(features, factor * model.step_ms(features)));
      }
      const LatencyModel found = calibrator.refit().model;
      EXPECT_LT(mean_error(found, profile(model)), 0.02);
      const std::vector<PromptWork> prompts = {{.num_tokens = 65536}};
      const ChunkLimits limits{.max_chunk_tokens = 8192, .min_chunk_tokens = 16, .alignment = 16};
      const double target_ms = best_target_ms(Stages(model, 4), prompts, limits);
      EXPECT_NEAR(best_target_ms(Stages(found, 4), prompts, limits), target_ms, 0.03 * target_ms);
    }
  }
}

TEST(Calibrator, ANarrowWorkloadLeavesTheRestAccurate) {
  for (const Coefficients& costs : {kKimi, kTiny, kLinear}) {
    const LatencyModel model(costs);
    StepFeatures one_size;
    one_size.add({.num_tokens = 2048, .num_computed_tokens = 0});
    StepFeatures decodes;
    decodes.add_decodes(32, 64'000);
    for (const StepFeatures& features : {one_size, decodes}) {
      Calibrator calibrator(noisy(profile(model), 1), 128);
      const MeasuredStep step{.features = features, .latency_ms = model.step_ms(features)};
      const LatencyModel found =
          follow(calibrator, noisy(std::vector<MeasuredStep>(1024, step), 2));
      EXPECT_LT(mean_error(found, profile(model)), 0.05) << costs.linear;
      EXPECT_LT(calibrator.refit().condition_number, 1e4);
    }
  }
}

TEST(Calibrator, DecodesThatGoTheirOwnWayLeavePrefillsAlone) {
  // A graph of their own makes decodes faster than the model says.
  for (const Coefficients& costs : {kTiny, kKimi, kLinear}) {
    const LatencyModel model(costs);
    MeasuredStep step;
    step.features.add_decodes(16, 32'000);
    step.latency_ms = 0.7 * model.step_ms(step.features);
    Calibrator calibrator(profile(model), 128);
    const LatencyModel found = follow(calibrator, std::vector<MeasuredStep>(2048, step));
    EXPECT_LT(mean_error(found, profile(model)), 0.05);
    EXPECT_EQ(calibrator.num_drifts(), 0U);
  }
}

TEST(Calibrator, TakesStepsOfSeveralPrefillsAndDecodes) {
  const LatencyModel now = slowed(1.5);
  std::vector<MeasuredStep> steps;
  for (std::int64_t i = 0; i < 128; ++i) {
    MeasuredStep step;
    step.features.add({.num_tokens = 1024 + 128 * (i % 7), .num_computed_tokens = 0});
    step.features.add({.num_tokens = 512, .num_computed_tokens = 2048 * (i % 5)});
    step.features.add({.num_tokens = 300, .num_computed_tokens = 8192});
    step.features.add_decodes(i % 33, 2500 * (i % 33));
    step.latency_ms = now.step_ms(step.features);
    steps.push_back(step);
  }
  Calibrator calibrator(noisy(profile(slowed(1.0)), 1), 128);
  const LatencyModel found = follow(calibrator, noisy(steps, 2));
  EXPECT_LT(mean_error(found, steps), 0.03);
  EXPECT_LT(mean_error(found, profile(now)), 0.06);
}

TEST(Calibrator, IgnoresOutliers) {
  for (const Coefficients& costs : {kKimi, kTiny, kLinear}) {
    const LatencyModel model(costs);
    auto passes = noisy(profile(model), 1);
    passes.front().latency_ms *= 30.0;
    auto steps = noisy(served(model, 128), 2);
    for (std::size_t i = 3; i + 4 < steps.size(); i += 10) {
      steps[i].latency_ms *= 30.0;
      steps[i + 4].latency_ms /= 30.0;
    }
    steps[100].latency_ms = std::numeric_limits<double>::denorm_min();
    steps[110].latency_ms = std::numeric_limits<double>::max();
    Calibrator calibrator(passes, 128);
    EXPECT_LT(mean_error(calibrator.refit().model, profile(model)), 0.03);
    EXPECT_LT(mean_error(follow(calibrator, steps), profile(model)), 0.03);
    EXPECT_EQ(calibrator.refit().num_outliers, 28U);
    EXPECT_EQ(calibrator.num_drifts(), 0U);
  }
}

TEST(Calibrator, ForgetsWhatWasBeforeADrift) {
  Calibrator calibrator(profile(slowed(1.0)), 20);
  (void)follow(calibrator, served(slowed(1.0), 24));
  EXPECT_EQ(calibrator.num_recent(), 20U);
  // A ring that is full, and its beginning somewhere inside.
  for (const MeasuredStep& step : served(slowed(1.5), 12)) {
    (void)calibrator.add(step.features, step.latency_ms);
  }
  const FitReport report = calibrator.refit();
  EXPECT_EQ(calibrator.num_drifts(), 1U);
  EXPECT_EQ(calibrator.num_recent(), 12U);
  EXPECT_EQ(report.num_outliers, 0U);
  EXPECT_LT(report.mean_relative_error, 1e-3);
  EXPECT_LT(mean_error(report.model, profile(slowed(1.5))), 1e-3);
  // The ring goes on from there.
  (void)follow(calibrator, served(slowed(1.5), 40));
  EXPECT_EQ(calibrator.num_recent(), 20U);
  EXPECT_LT(mean_error(calibrator.refit().model, profile(slowed(1.5))), 1e-3);
}

TEST(Calibrator, ThrowsNothingButRefusals) {
  // Steps that leave the model by any factor, one way and back.
  Calibrator calibrator(profile(slowed(1.0)), 16);
  for (const double factor : {1e-300, 1e300, 1e-9, 1e9, 1e7, 1e-7, 1e5, 1e-5, 1.0}) {
    for (int round = 0; round < 60; ++round) {
      for (MeasuredStep step : served(slowed(1.0), 16)) {
        step.latency_ms *= factor;
        (void)calibrator.add(step.features, step.latency_ms);
      }
      try {
        EXPECT_LE(calibrator.refit().mean_relative_error, kMaxMeanRelativeError);
      } catch (const FitRefused&) {
      }
    }
  }
  EXPECT_LT(mean_error(calibrator.refit().model, profile(slowed(1.0))), 0.01);
}

TEST(Calibrator, ANearlyIllPosedProfileHarmsNothing) {
  // Sizes that are nearly one: a fit of condition 5e6 or 4e7, or none.
  for (const std::int64_t size : {1000, 3000, 10'000}) {
    std::vector<MeasuredStep> steps;
    for (const std::int64_t num_tokens : {size, size + 1, size + 2, size + 3}) {
      for (const std::int64_t history : {0, 4096, 16384, 65536}) {
        MeasuredStep step;
        step.features.add({.num_tokens = num_tokens, .num_computed_tokens = history});
        step.latency_ms = slowed(1.0).step_ms(step.features);
        steps.push_back(step);
      }
    }
    const auto now = served(slowed(1.0), 128);
    Calibrator calibrator(noisy(steps, 1), 128);
    EXPECT_LT(mean_error(follow(calibrator, noisy(now, 2)), now), 0.02) << size;
  }
}

TEST(Calibrator, WhatTellsOfDriftCostsHalfOfAProfilesTokens) {
  // The lower quartile of the profile is its 1024 tokens behind 4096.
  for (const auto& [costs, little, enough] :
       {std::tuple(kKimi, 660, 720), std::tuple(kTiny, 1800, 1920)}) {
    for (const std::int64_t num_tokens : {little, enough}) {
      Calibrator calibrator(profile(LatencyModel(costs)), 16);
      StepFeatures features;
      features.add({.num_tokens = num_tokens, .num_computed_tokens = 0});
      for (std::size_t i = 0; i < kDriftSteps; ++i) {
        (void)calibrator.add(features, 2.0 * LatencyModel(costs).step_ms(features));
      }
      (void)calibrator.refit();
      EXPECT_EQ(calibrator.num_drifts(), num_tokens == enough ? 1U : 0U) << num_tokens;
    }
  }
}

TEST(Calibrator, FewerStepsAreNoDrift) {
  // In a ring that is full, too.
  Calibrator calibrator(profile(slowed(1.0)), kDriftSteps - 1);
  (void)follow(calibrator, served(slowed(1.0), 16));
  (void)follow(calibrator, served(slowed(1.5), 32));
  EXPECT_EQ(calibrator.num_drifts(), 0U);
}

TEST(Calibrator, RefusesBadArguments) {
  EXPECT_THROW(Calibrator({}, 0), InvalidArgument);
  EXPECT_EQ(Calibrator({}, 1).capacity(), 1U);
  EXPECT_EQ(Calibrator({}, 1'000'000).capacity(), 1'000'000U);
  EXPECT_THROW(Calibrator({}, 1'000'001), InvalidArgument);
  std::vector<MeasuredStep> steps = profile(slowed(1.0));
  steps.front().latency_ms = -1.0;
  EXPECT_THROW(Calibrator(steps, 8), InvalidArgument);
  EXPECT_THROW((void)Calibrator({}, 8).refit(), FitRefused);
}

}  // namespace
}  // namespace cpp_chunk
