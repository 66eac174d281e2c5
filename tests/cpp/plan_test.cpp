#include "cpp_chunk/plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "cpp_chunk/error.h"

namespace cpp_chunk {
namespace {

// The published Kimi-K2.5 stage, with the engine's gap of 17.5 ms that forward-only timers miss.
const LatencyModel& kimi() {
  static const LatencyModel model({.quadratic = 6.5e-7,
                                   .cross = 6.5e-7,
                                   .linear = 6.03e-3,
                                   .context = 5.39e-4,
                                   .constant = 26.1 + 17.5});
  return model;
}

const ChunkLimits kLimits{.max_chunk_tokens = 32768, .min_chunk_tokens = 256, .alignment = 128};

TEST(Plan, ChunksSumToThePromptAndAreAligned) {
  const Plan plan = plan_chunks(Stages(kimi(), 4), 131'000, kLimits);
  EXPECT_EQ(std::accumulate(plan.chunks.begin(), plan.chunks.end(), std::int64_t{0}), 131'000);
  for (std::size_t i = 0; i + 1 < plan.chunks.size(); ++i) {
    EXPECT_EQ(plan.chunks[i] % 128, 0);
    EXPECT_LE(plan.chunks[i], 32768);
  }
  EXPECT_GE(2 * plan.chunks.back(), plan.chunks[plan.chunks.size() - 2]);
}

TEST(Plan, MakespanIsTheSumPlusTheLongestStepForEachFurtherStage) {
  const Plan plan = plan_chunks(Stages(kimi(), 4), 131'072, kLimits);
  double sum = 0.0;
  double longest = 0.0;
  std::int64_t done = 0;
  for (const std::int64_t chunk : plan.chunks) {
    StepFeatures features;
    features.add({.num_tokens = chunk, .num_computed_tokens = done});
    sum += kimi().step_ms(features);
    longest = std::max(longest, kimi().step_ms(features));
    done += chunk;
  }
  EXPECT_NEAR(plan.makespan_ms, sum + 3.0 * longest, 1e-6);
  EXPECT_LT(plan.makespan_ms, 9774.0);  // the published dynamic figure
}

TEST(Plan, StartsAtAPrefixHit) {
  const Plan plan = plan_chunks(Stages(kimi(), 4), 131'072, kLimits, 65'536);
  EXPECT_EQ(std::accumulate(plan.chunks.begin(), plan.chunks.end(), std::int64_t{0}), 65'536);
}

TEST(Plan, TenMillionTokens) {
  const Plan plan = plan_chunks(Stages(kimi(), 16), 10'000'000, kLimits);
  EXPECT_EQ(std::accumulate(plan.chunks.begin(), plan.chunks.end(), std::int64_t{0}), 10'000'000);
}

TEST(Plan, FallsBackOnAFixedSizeWhereNoEqualTimesExist) {
  // Two steps, the second always the longer one: a smaller first chunk would be best.
  const LatencyModel model({.linear = 1.9e-4, .context = 2.2e-4, .constant = 0.23});
  const ChunkLimits limits{.max_chunk_tokens = 32768, .min_chunk_tokens = 128, .alignment = 128};
  const Plan plan = plan_chunks(Stages(model, 16), 45'381, limits);
  EXPECT_EQ(plan.chunks.front(), 24576);
}

TEST(Plan, RefusesBadArguments) {
  EXPECT_THROW((void)plan_chunks(Stages(kimi(), 4), 0, kLimits), InvalidArgument);
  EXPECT_THROW((void)plan_chunks(Stages(kimi(), 4), -1, kLimits), InvalidArgument);
  EXPECT_THROW((void)plan_chunks(Stages(kimi(), 4), 100, kLimits, 100), InvalidArgument);
  EXPECT_THROW((void)plan_chunks(Stages(kimi(), 4), 100, kLimits, -1), InvalidArgument);
  EXPECT_THROW((void)plan_chunks(Stages(kimi(), 0), 100, kLimits), InvalidArgument);
}

}  // namespace
}  // namespace cpp_chunk
