#include "cpp_chunk/target.h"

#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "cpp_chunk/error.h"
#include "cpp_chunk/flow_shop.h"
#include "cpp_chunk/packing.h"

namespace cpp_chunk {
namespace {

const ChunkLimits kLimits{.max_chunk_tokens = 1'000'000, .min_chunk_tokens = 1, .alignment = 1};

double target_of(const LatencyModel& model, const PromptWork& prompt, std::int64_t num_stages,
                 const ChunkLimits& limits = kLimits) {
  return best_target_ms(Stages(model, num_stages), std::span(&prompt, 1), limits);
}

TEST(BestTarget, ClosedFormWhereNothingElsePlays) {
  // W = 1000 ms, c = 10 ms, S = 5: N = sqrt(4*1000/10) = 20, T = 10 + 1000/20 = 60
  const LatencyModel model({.linear = 0.01, .constant = 10.0});
  EXPECT_NEAR(target_of(model, {.num_tokens = 100'000}, 5), 60.0, 6.0);
}

TEST(BestTarget, MakespanIsThatOfTheClosedForm) {
  const LatencyModel model({.linear = 0.01, .constant = 10.0});
  const PromptWork prompt{.num_tokens = 100'000};
  const double target_ms = target_of(model, prompt, 5);
  ChunkSolver solver(model, kLimits);
  const Stages stages(model, 5);
  FlowShop flow_shop(stages);
  EXPECT_TRUE(pack_steps(solver, std::span(&prompt, 1), StepTargets(target_ms), flow_shop,
                         {.max_steps = 1000}, [](const Chunk&) {}));
  // (sqrt(W) + sqrt((S-1)*c))^2
  EXPECT_NEAR(flow_shop.makespan_ms() / std::pow(std::sqrt(1000.0) + std::sqrt(40.0), 2.0), 1.0,
              1e-3);
}

TEST(BestTarget, OneStageTakesTheCap) {
  const LatencyModel model({.linear = 0.01, .constant = 10.0});
  const ChunkLimits limits{.max_chunk_tokens = 4096, .min_chunk_tokens = 1, .alignment = 1};
  EXPECT_GE(target_of(model, {.num_tokens = 100'000}, 1, limits), 10.0 + 40.96);
}

TEST(BestTarget, GrowsWithTheBacklogUpToTheCap) {
  const LatencyModel model({.quadratic = 1e-7, .cross = 1e-7, .linear = 0.01, .constant = 10.0});
  const Stages stages(model, 4);
  const ChunkLimits limits{.max_chunk_tokens = 16384, .min_chunk_tokens = 1, .alignment = 16};
  const std::vector<PromptWork> backlog(256, PromptWork{.num_tokens = 32768});
  const double one_ms = best_target_ms(stages, std::span(backlog).first(1), limits);
  const double few_ms = best_target_ms(stages, std::span(backlog).first(8), limits);
  const double many_ms = best_target_ms(stages, backlog, limits);
  EXPECT_GT(few_ms, 1.5 * one_ms);
  EXPECT_GE(many_ms, few_ms);
  StepFeatures cap;
  cap.add({.num_tokens = 16384, .num_computed_tokens = 0});
  EXPECT_GT(many_ms, 0.9 * model.step_ms(cap));
}

TEST(BestTarget, StepsThatCostNothingBecomeSmall) {
  const LatencyModel model({.quadratic = 1e-6, .cross = 1e-6, .linear = 0.01});
  const ChunkLimits limits{.max_chunk_tokens = 16384, .min_chunk_tokens = 64, .alignment = 64};
  const double target_ms = target_of(model, {.num_tokens = 16384}, 4, limits);
  EXPECT_GT(target_ms, 0.0);
  EXPECT_LT(target_ms, 4.0);
}

TEST(BestTarget, DearHistoryDoesNotCollapseTheChunks) {
  // The history alone costs more than the closed form's step: greedy chunks would end at one
  // token a step there.
  const LatencyModel model({.linear = 1e-3, .context = 1e-2, .constant = 1.0});
  const ChunkLimits limits{.max_chunk_tokens = 4096, .min_chunk_tokens = 1, .alignment = 1};
  const PromptWork prompt{.num_tokens = 100'000};
  const double target_ms = target_of(model, prompt, 4, limits);
  ChunkSolver solver(model, limits);
  const Stages stages(model, 4);
  FlowShop flow_shop(stages);
  EXPECT_TRUE(pack_steps(solver, std::span(&prompt, 1), StepTargets(target_ms), flow_shop,
                         {.max_steps = 1000}, [](const Chunk&) {}));
  EXPECT_LE(flow_shop.num_steps(), 30);
}

TEST(BestTarget, RefusesBadArguments) {
  const LatencyModel model({.linear = 1.0});
  const PromptWork empty{};
  EXPECT_THROW((void)best_target_ms(Stages(model, 2), {}, kLimits), InvalidArgument);
  EXPECT_THROW((void)target_of(model, empty, 2), InvalidArgument);
  EXPECT_THROW((void)target_of(model, {.num_tokens = -1}, 2), InvalidArgument);
  EXPECT_THROW((void)target_of(model, {.num_tokens = 1}, 0), InvalidArgument);
  EXPECT_THROW((void)target_of(model, {.num_tokens = 1}, 1LL << 40), InvalidArgument);
}

TEST(BestTarget, AlwaysFinite) {
  for (const double size : {0.0, 1e-300, 1.0, 1e300}) {
    const LatencyModel model(
        {.quadratic = size, .cross = size, .linear = size, .context = size, .constant = size});
    for (const std::int64_t num_tokens : {std::int64_t{1}, std::int64_t{10'000'000}}) {
      const double target_ms = target_of(model, {.num_tokens = num_tokens}, 8);
      EXPECT_TRUE(std::isfinite(target_ms)) << size << " " << num_tokens << " " << target_ms;
      EXPECT_GE(target_ms, 0.0);
    }
  }
}

TEST(SlowestStage, IsTheOneThatTakesLongest) {
  const LatencyModel model({.linear = 0.01, .constant = 10.0});
  const PromptWork prompt{.num_tokens = 1000};
  EXPECT_EQ(slowest_stage(Stages(model, 3), std::span(&prompt, 1)), 0U);
  EXPECT_EQ(slowest_stage(Stages({model, model.scaled(1.1), model}), std::span(&prompt, 1)), 1U);
  EXPECT_THROW((void)slowest_stage(Stages(model, 3), {}), InvalidArgument);
}

TEST(MakespanBound, OfEqualStagesIsTheClosedForm) {
  // (sqrt(W) + sqrt((S-1)*c))^2 with W = 1000 ms, c = 10 ms, S = 5
  const LatencyModel model({.linear = 0.01, .constant = 10.0});
  const std::vector<PromptWork> halves(2, PromptWork{.num_tokens = 50'000});
  EXPECT_NEAR(makespan_bound_ms(Stages(model, 5), halves),
              std::pow(std::sqrt(1000.0) + std::sqrt(40.0), 2.0), 1e-2);
  EXPECT_NEAR(makespan_bound_ms(Stages(model, 1), halves), 1010.0, 1e-9);
  EXPECT_THROW((void)makespan_bound_ms(Stages(model, 5), {}), InvalidArgument);
}

TEST(BaseTarget, PublishedRule) {
  const LatencyModel model(
      {.quadratic = 2.0, .cross = 3.0, .linear = 5.0, .context = 7.0, .constant = 11.0});
  EXPECT_DOUBLE_EQ(base_target_ms(model, 4), 11.0 + 16.0 + 20.0);
  EXPECT_THROW((void)base_target_ms(model, 0), InvalidArgument);
}

}  // namespace
}  // namespace cpp_chunk
