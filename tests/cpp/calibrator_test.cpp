#include "cpp_chunk/calibrator.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <limits>
#include <new>
#include <vector>

#include "cpp_chunk/error.h"

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

LatencyModel slowed(double factor) {
  return LatencyModel({.quadratic = 6.5e-7 * factor,
                       .cross = 5.0e-7 * factor,
                       .linear = 6.03e-3 * factor,
                       .context = 5.39e-4 * factor,
                       .constant = 43.6 * factor});
}

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
  Calibrator calibrator(profile(slowed(1.0)), 32);
  const std::size_t before = num_allocations;
  for (int round = 0; round < 5; ++round) {
    for (const MeasuredStep& step : steps) {
      (void)calibrator.add(step.features, step.latency_ms);
    }
    (void)calibrator.refit();
  }
  EXPECT_EQ(num_allocations, before);
}

TEST(Calibrator, RefusesBadArguments) {
  EXPECT_THROW(Calibrator({}, 0), InvalidArgument);
  EXPECT_THROW(Calibrator({}, 10'000'000), InvalidArgument);
  std::vector<MeasuredStep> steps = profile(slowed(1.0));
  steps.front().latency_ms = -1.0;
  EXPECT_THROW(Calibrator(steps, 8), InvalidArgument);
  EXPECT_THROW((void)Calibrator({}, 8).refit(), FitRefused);
}

}  // namespace
}  // namespace cpp_chunk
