#include "cpp_chunk/plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "cpp_chunk/error.h"
#include "cpp_chunk/packing.h"

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

// An independent flow shop: as many steps inside as there are stages.
double flow_shop_ms(const Stages& stages, const std::vector<std::int64_t>& chunks) {
  std::vector<double> free_ms(stages.size(), 0.0);
  std::vector<double> left_ms;
  std::int64_t done = 0;
  for (const std::int64_t chunk : chunks) {
    const Chunk whole{.num_tokens = chunk, .num_computed_tokens = done};
    double at_ms = left_ms.size() < stages.size() ? 0.0 : left_ms[left_ms.size() - stages.size()];
    for (std::size_t stage = 0; stage < stages.size(); ++stage) {
      at_ms = std::max(at_ms, free_ms[stage]) + stages[stage].step_ms(std::span(&whole, 1));
      free_ms[stage] = at_ms;
    }
    left_ms.push_back(at_ms);
    done += chunk;
  }
  return left_ms.back();
}

TEST(Plan, MakespanIsTheSumPlusTheLongestStepForEachFurtherStage) {
  const Stages stages(kimi(), 4);
  const Plan plan = plan_chunks(stages, 131'072, kLimits);
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
  // Alignment makes some steps a little shorter than those before: they wait for a place.
  EXPECT_GE(plan.makespan_ms, sum + 3.0 * longest - 1e-6);
  EXPECT_LE(plan.makespan_ms, 1.003 * (sum + 3.0 * longest));
  EXPECT_NEAR(plan.makespan_ms, flow_shop_ms(stages, plan.chunks), 1e-6);
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

TEST(Plan, OfVeryManyStepsIsNotLaterThanFullOnes) {
  const Stages stages(kimi(), 4);
  for (const auto& [num_tokens, cap] :
       {std::pair{1'000'000, 256}, {10'000'000, 512}, {10'000'000, 2048}}) {
    const ChunkLimits limits{.max_chunk_tokens = cap, .alignment = 16};
    EXPECT_LE(plan_chunks(stages, num_tokens, limits).makespan_ms,
              1.005 * plan_fixed_chunks(stages, num_tokens, cap).makespan_ms)
        << num_tokens << " " << cap;
  }
}

TEST(Plan, FallsBackOnAFixedSizeWhereNoEqualTimesExist) {
  // Two steps, the second always the longer one: a smaller first chunk would be best.
  const LatencyModel model({.linear = 1.9e-4, .context = 2.2e-4, .constant = 0.23});
  const ChunkLimits limits{.max_chunk_tokens = 32768, .min_chunk_tokens = 128, .alignment = 128};
  const Plan plan = plan_chunks(Stages(model, 16), 45'381, limits);
  EXPECT_EQ(plan.chunks.front(), 24576);
}

TEST(Plan, OfUnequalStagesIsThatOfAFlowShop) {
  const Stages stages({kimi(), kimi().scaled(0.9), kimi().scaled(1.3), kimi()});
  const Plan plan = plan_chunks(stages, 131'072, kLimits);
  EXPECT_NEAR(plan.makespan_ms, flow_shop_ms(stages, plan.chunks), 1e-6);
}

TEST(Plan, OfUnequalStagesIsRamped) {
  // The best equal times: the plan as if all stages were as slow as the slowest, on the real ones.
  for (const auto& [num_stages, factor, gain] : {std::tuple{4, 1.2, 0.04}, {8, 1.15, 0.03}}) {
    std::vector<LatencyModel> models(static_cast<std::size_t>(num_stages), kimi());
    models.back() = kimi().scaled(factor);
    const Stages stages(models);
    const Plan ramped = plan_chunks(stages, 131'072, kLimits);
    EXPECT_GT(ramped.step_targets_ms.size(), 1U);
    double equal_ms = std::numeric_limits<double>::infinity();
    for (double target_ms = 60.0; target_ms < 5000.0; target_ms *= 1.01) {
      ChunkSolver solver(models.back(), kLimits);
      FlowShop flow_shop(stages);
      const PromptWork prompt{.num_tokens = 131'072};
      if (pack_steps(solver, std::span<const PromptWork>(&prompt, 1), StepTargets(target_ms),
                     flow_shop, {.max_steps = 10'000}, [](const Chunk&) {})) {
        equal_ms = std::min(equal_ms, flow_shop.makespan_ms());
      }
    }
    EXPECT_LT(ramped.makespan_ms, (1.0 - gain) * equal_ms) << num_stages;
  }
}

TEST(Plan, MaxStepIsNeverExceeded) {
  ChunkLimits limits = kLimits;
  for (const double max_step_ms : {100.0, 150.0, 400.0}) {
    limits.max_step_ms = max_step_ms;
    for (const Stages& stages : {Stages(kimi(), 4), Stages({kimi(), kimi().scaled(1.4)})}) {
      const Plan plan = plan_chunks(stages, 20'000, limits);
      std::int64_t done = 0;
      for (const std::int64_t chunk : plan.chunks) {
        const Chunk whole{.num_tokens = chunk, .num_computed_tokens = done};
        EXPECT_LE(stages[stages.size() - 1].step_ms(std::span(&whole, 1)), max_step_ms);
        done += chunk;
      }
      for (const double target_ms : plan.step_targets_ms) {
        EXPECT_LE(target_ms, max_step_ms);
      }
    }
  }
}

TEST(Plan, MaxStepHoldsOnEveryStage) {
  // The first stage takes longest for the prompt as a whole, the second for its deep end.
  const LatencyModel even({.linear = 0.02, .constant = 10.0});
  const LatencyModel steep({.cross = 2.5e-6, .linear = 0.006, .constant = 5.0});
  const Stages stages({even, steep, even.scaled(0.5)});
  ChunkLimits limits{.max_chunk_tokens = 8192, .alignment = 16, .max_step_ms = 30.0};
  std::int64_t done = 0;
  double longest_ms = 0.0;
  for (const std::int64_t chunk : plan_chunks(stages, 10'000, limits).chunks) {
    const Chunk whole{.num_tokens = chunk, .num_computed_tokens = done};
    for (const LatencyModel& model : stages.models()) {
      longest_ms = std::max(longest_ms, model.step_ms(std::span(&whole, 1)));
    }
    done += chunk;
  }
  EXPECT_LE(longest_ms, 30.0);
}

TEST(FixedPlan, ByHand) {
  // Chunks of 4, 4, 2 at 1 ms a token: 10 ms, and the longest once more
  const Plan plan = plan_fixed_chunks(Stages(LatencyModel({.linear = 1.0}), 2), 10, 4);
  EXPECT_EQ(plan.chunks, (std::vector<std::int64_t>{4, 4, 2}));
  EXPECT_EQ(plan.step_targets_ms, (std::vector<double>{4.0, 4.0, 2.0}));
  EXPECT_DOUBLE_EQ(plan.makespan_ms, 14.0);
  EXPECT_EQ(plan_fixed_chunks(Stages(kimi(), 2), 10, 4, 5).chunks,
            (std::vector<std::int64_t>{4, 1}));
}

TEST(FixedPlan, RefusesBadArguments) {
  const Stages stages(kimi(), 2);
  EXPECT_THROW((void)plan_fixed_chunks(stages, 10, 0), InvalidArgument);
  EXPECT_THROW((void)plan_fixed_chunks(stages, 0, 4), InvalidArgument);
  EXPECT_THROW((void)plan_fixed_chunks(stages, 10, 4, 10), InvalidArgument);
  EXPECT_THROW((void)plan_fixed_chunks(stages, kMaxTokens, 1),
               InvalidArgument);  // too long to list
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
