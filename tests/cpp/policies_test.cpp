#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <limits>
#include <vector>

#include "cpp_chunk/error.h"
#include "cpp_chunk/simulator/policies/atom_policy.h"
#include "cpp_chunk/simulator/policies/fixed_policy.h"
#include "cpp_chunk/simulator/policies/sglang_policy.h"
#include "cpp_chunk/simulator/policies/vllm_ascend_policy.h"
#include "cpp_chunk/simulator/simulate.h"

namespace cpp_chunk {
namespace {

using ::testing::ElementsAre;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr std::int64_t kMany = 1'000'000;

// f(l) = 0.01 l^2 + l + 7, so f(400) - f(0) = 2000. After 350 tokens, 0.01 x^2 + 8 x = 2000 at
// x = 200.
const LatencyModel& rule_model() {
  static const LatencyModel model(
      {.quadratic = 0.02, .cross = 0.02, .linear = 1.0, .context = 0.0, .constant = 7.0});
  return model;
}

PromptWork after(std::int64_t num_computed_tokens, std::int64_t num_tokens = kMany) {
  return {.num_tokens = num_tokens, .num_computed_tokens = num_computed_tokens};
}

// Asks, and puts what it got into the step.
std::int64_t take(ChunkPolicy& policy, const PromptWork& prompt, std::int64_t max_tokens = kMany) {
  const std::int64_t num_tokens = policy.chunk_tokens(prompt, max_tokens);
  if (num_tokens > 0) {
    policy.add_chunk({.num_tokens = num_tokens, .num_computed_tokens = prompt.num_computed_tokens});
  }
  return num_tokens;
}

std::int64_t first_chunk(ChunkPolicy& policy, const PromptWork& prompt) {
  policy.begin_step();
  return policy.chunk_tokens(prompt, kMany);
}

void run_step(ChunkPolicy& policy, const std::vector<Chunk>& chunks, double latency_ms) {
  policy.begin_step();
  StepFeatures features;
  for (const Chunk& chunk : chunks) {
    policy.add_chunk(chunk);
    features.add(chunk);
  }
  policy.measured(features, latency_ms);
}

TEST(FixedPolicy, StepsShareTheSize) {
  FixedPolicy policy(100);
  policy.begin_step();
  EXPECT_EQ(take(policy, after(0, 70)), 70);
  policy.add_chunk({.num_tokens = 1, .num_computed_tokens = 500});
  EXPECT_EQ(take(policy, after(0)), 29);
  EXPECT_EQ(take(policy, after(0)), 0);
  policy.begin_step();
  EXPECT_EQ(take(policy, after(0), 50), 50);
  EXPECT_THROW(FixedPolicy(0), InvalidArgument);
  EXPECT_THROW(FixedPolicy(kMaxTokens + 1), InvalidArgument);
}

TEST(SglangPolicy, SolvesSmoothsAndRoundsDown) {
  SglangPolicy policy(rule_model(), 400);
  EXPECT_EQ(first_chunk(policy, after(0)), 384);    // 400, down to a multiple of 64
  EXPECT_EQ(first_chunk(policy, after(350)), 192);  // 400 + 0.75 * (200 - 400) = 250
  EXPECT_EQ(first_chunk(policy, after(350, 100)), 100);
  SglangPolicy strict(rule_model(), 400, 1.0);
  EXPECT_EQ(first_chunk(strict, after(350)), 192);  // 200
  SglangPolicy paged(rule_model(), 400, 0.75, 100);
  EXPECT_EQ(first_chunk(paged, after(350)), 200);  // 250
  SglangPolicy fixed(rule_model(), 400, 0.0);
  EXPECT_EQ(first_chunk(fixed, after(350)), 384);
}

TEST(SglangPolicy, HasAFloorOfAQuarterOfTheBase) {
  // x is near 0 after a million tokens: 1024 + 0.75 * (0 - 1024) = 256, or the floor, 256.
  SglangPolicy policy(rule_model(), 1024);
  EXPECT_EQ(first_chunk(policy, after(kMany)), 256);
  SglangPolicy strict(rule_model(), 1024, 1.0);
  EXPECT_EQ(first_chunk(strict, after(kMany)), 256);
  SglangPolicy tiny(rule_model(), 100, 1.0);
  EXPECT_EQ(first_chunk(tiny, after(kMany)), 64);  // 25, but one page at least
}

TEST(SglangPolicy, SeesNoHistoryTerms) {
  const LatencyModel model(
      {.quadratic = 0.02, .cross = 5.0, .linear = 1.0, .context = 9.0, .constant = 3.0});
  SglangPolicy policy(model, 400);
  EXPECT_EQ(first_chunk(policy, after(350)), 192);
}

TEST(SglangPolicy, OtherPrefillsShareWhatTheFirstLeaves) {
  SglangPolicy policy(rule_model(), 400);
  policy.begin_step();
  policy.add_chunk({.num_tokens = 1, .num_computed_tokens = 500});  // decodes are not counted
  EXPECT_EQ(take(policy, after(350, 100)), 100);
  EXPECT_EQ(take(policy, after(0, 50)), 50);
  EXPECT_EQ(take(policy, after(0)), 42);  // of 192
  EXPECT_EQ(take(policy, after(0)), 0);
}

TEST(SglangPolicy, RefusesBadArguments) {
  EXPECT_THROW(SglangPolicy(rule_model(), 0), InvalidArgument);
  EXPECT_THROW(SglangPolicy(rule_model(), 400, 1.5), InvalidArgument);
  EXPECT_THROW(SglangPolicy(rule_model(), 400, kNan), InvalidArgument);
  EXPECT_THROW(SglangPolicy(rule_model(), 400, 0.75, 0), InvalidArgument);
}

TEST(VllmAscendPolicy, FirstPhaseRoundsUp) {
  VllmAscendPolicy policy(rule_model(), 400, 1.0, 0, 64);
  EXPECT_DOUBLE_EQ(policy.target_ms(), 2000.0);
  EXPECT_EQ(first_chunk(policy, after(350)), 256);  // 200
  EXPECT_EQ(first_chunk(policy, after(0)), 400);    // 448, but the base is the engine's budget
  VllmAscendPolicy floored(rule_model(), 400, 1.0, 300, 64);
  EXPECT_EQ(first_chunk(floored, after(350)), 320);
  VllmAscendPolicy smooth(rule_model(), 400, 0.5, 0, 64);
  EXPECT_EQ(first_chunk(smooth, after(350)), 320);  // 300
  VllmAscendPolicy blocks(rule_model(), 400, 1.0, 0, 128);
  EXPECT_EQ(first_chunk(blocks, after(350)), 256);
}

TEST(VllmAscendPolicy, TheBudgetRunsDownOverAStep) {
  VllmAscendPolicy policy(rule_model(), 400, 1.0, 0, 64);
  policy.begin_step();
  // 0.01 * (2 * 350 * 100 + 100^2) + 100 = 900 of 2000
  EXPECT_EQ(take(policy, after(350, 100)), 100);
  // 0.01 x^2 + 8 x = 1100 at x = 119.6, which costs 1187.84 rounded up to 128
  EXPECT_EQ(take(policy, after(350)), 128);
  EXPECT_EQ(take(policy, after(350)), 0);
  policy.begin_step();
  EXPECT_EQ(take(policy, after(350)), 256);
}

TEST(VllmAscendPolicy, TheFirstStepsWithoutHistoryOverwriteTheTarget) {
  VllmAscendPolicy policy(rule_model(), 400, 1.0, 0, 64);
  run_step(policy, {{.num_tokens = 200}}, 10.0);
  run_step(policy, {{.num_tokens = 100, .num_computed_tokens = 50}}, 1e6);  // has a history
  run_step(policy, {{.num_tokens = 100}, {.num_tokens = 100}}, 20.0);
  EXPECT_DOUBLE_EQ(policy.target_ms(), 2000.0);
  run_step(policy, {{.num_tokens = 200}}, 30.0);
  EXPECT_DOUBLE_EQ(policy.target_ms(), 20.0);
  EXPECT_FALSE(policy.is_fitted());
  run_step(policy, {{.num_tokens = 200}}, 1e6);
  EXPECT_DOUBLE_EQ(policy.target_ms(), 20.0);
}

TEST(VllmAscendPolicy, SecondPhaseSolvesTheFittedForm) {
  VllmAscendPolicy policy(rule_model(), 400, 1.0, 0, 64);
  // 0.01 C(C + H) + 0.5 (C + H) + 3 a request
  const auto step = [&policy](const std::vector<Chunk>& chunks) {
    double latency_ms = 0.0;
    for (const auto& [num_tokens, num_computed_tokens] : chunks) {
      const auto length = static_cast<double>(num_tokens + num_computed_tokens);
      latency_ms += 0.01 * static_cast<double>(num_tokens) * length + 0.5 * length + 3.0;
    }
    run_step(policy, chunks, latency_ms);
  };
  step({{.num_tokens = 100, .num_computed_tokens = 100}});
  step({{.num_tokens = 200, .num_computed_tokens = 100}});
  step({{.num_tokens = 100, .num_computed_tokens = 300},
        {.num_tokens = 1, .num_computed_tokens = 90}});
  step({{.num_tokens = 300, .num_computed_tokens = 200}});
  EXPECT_FALSE(policy.is_fitted());
  step({{.num_tokens = 50, .num_computed_tokens = 500}});
  EXPECT_TRUE(policy.is_fitted());
  // 0.01 x^2 + 4.5 x + 203 = 2000 at x = 254.9
  EXPECT_EQ(first_chunk(policy, after(400)), 256);
  // What is left after 100 tokens there: 0.01 * 100 * 500 + 250 + 3 = 753 spent. 0.01 x^2 + 4.5 x +
  // 203 = 1247 at x = 169.
  policy.begin_step();
  EXPECT_EQ(take(policy, after(400, 100)), 100);
  EXPECT_EQ(take(policy, after(400)), 192);
  // No time left for the history alone: the least, one block.
  EXPECT_EQ(first_chunk(policy, after(100'000)), 64);
}

TEST(VllmAscendPolicy, TheFitIsFrozenAfterThirtySteps) {
  VllmAscendPolicy policy(rule_model(), 400, 1.0, 0, 64);
  for (int i = 0; i < 30; ++i) {
    const Chunk chunk{.num_tokens = 100 + 10 * i, .num_computed_tokens = 100 + 50 * (i % 7)};
    const auto length = static_cast<double>(chunk.num_tokens + chunk.num_computed_tokens);
    run_step(policy, {chunk},
             0.01 * static_cast<double>(chunk.num_tokens) * length + 0.5 * length + 3.0);
  }
  for (int i = 0; i < 10; ++i) {
    run_step(policy, {{.num_tokens = 100, .num_computed_tokens = 100 + i}}, 1e9);
  }
  EXPECT_EQ(first_chunk(policy, after(400)), 256);
}

TEST(VllmAscendPolicy, AFitThatSaysNothingLeavesTheFirstPhase) {
  VllmAscendPolicy policy(rule_model(), 400, 1.0, 0, 64);
  for (int i = 0; i < 6; ++i) {  // the longer the chunk the faster: a < 0
    run_step(policy, {{.num_tokens = 100 * (i + 1), .num_computed_tokens = 100}},
             600.0 - 100.0 * i);
  }
  EXPECT_EQ(first_chunk(policy, after(350)), 256);
}

TEST(VllmAscendPolicy, RefusesBadArguments) {
  EXPECT_THROW(VllmAscendPolicy(rule_model(), 0), InvalidArgument);
  EXPECT_THROW(VllmAscendPolicy(rule_model(), 400, -0.1), InvalidArgument);
  EXPECT_THROW(VllmAscendPolicy(rule_model(), 400, 1.0, -1), InvalidArgument);
  EXPECT_THROW(VllmAscendPolicy(rule_model(), 400, 1.0, 0, 0), InvalidArgument);
}

// t(L, x) = 250 + 0.5 L + x + 0.01 (2 L x + x^2), so t(0, 400) - 250 = 2000.
const LatencyModel& atom_model() {
  static const LatencyModel model(
      {.quadratic = 0.02, .cross = 0.02, .linear = 1.0, .context = 0.5, .constant = 250.0});
  return model;
}

TEST(AtomPolicy, SolvesWithEveryTerm) {
  AtomPolicy policy(atom_model(), 400,
                    {.smooth_factor = 1.0, .min_chunk_tokens = 0, .max_overhead_share = 1.0});
  EXPECT_EQ(first_chunk(policy, after(0)), 384);     // 400, down to a multiple of 64
  EXPECT_EQ(first_chunk(policy, after(500)), 128);   // 0.01 x^2 + 11 x = 1750 at 141.0
  EXPECT_EQ(first_chunk(policy, after(1000)), 64);   // 0.01 x^2 + 21 x = 1500 at 69.1
  EXPECT_EQ(first_chunk(policy, after(4000)), 400);  // the history alone costs 2000: the base
  AtomPolicy smooth(atom_model(), 400, {.min_chunk_tokens = 0, .max_overhead_share = 1.0});
  EXPECT_EQ(first_chunk(smooth, after(500)), 192);  // 400 + 0.75 * (141 - 400) = 205.8
  AtomPolicy floored(atom_model(), 400,
                     {.smooth_factor = 1.0, .min_chunk_tokens = 200, .max_overhead_share = 1.0});
  EXPECT_EQ(first_chunk(floored, after(1000)), 192);
}

TEST(AtomPolicy, TheOverheadIsAFifthAtMost) {
  // After 1000 tokens the overhead is 750, so the work is to be 3000: 0.01 x^2 + 21 x at 134.3.
  AtomPolicy policy(atom_model(), 400, {.smooth_factor = 1.0, .min_chunk_tokens = 0});
  EXPECT_EQ(first_chunk(policy, after(1000)), 128);
}

TEST(AtomPolicy, ReproducesThePublishedChunks) {
  // 131072 tokens of Kimi-K2.5 with a base of 32768, as the pull request's document lists them.
  const LatencyModel kimi({.quadratic = 6.5e-7,
                           .cross = 6.5e-7,
                           .linear = 6.03e-3,
                           .context = 5.39e-4,
                           .constant = 26.1});
  AtomPolicy policy(kimi, 32768, {.smooth_factor = 1.0});
  const SimulatedPipeline pipeline{.stages = std::vector<LatencyModel>(4, kimi),
                                   .max_num_batched_tokens = 32768};
  const std::vector<SimulatedRequest> requests{{.prompt_tokens = 131'072}};
  std::vector<std::int64_t> chunks;
  for (const SimulatedStep& step : simulate(pipeline, requests, policy, true).steps) {
    chunks.push_back(step.chunks.front().num_tokens);
  }
  EXPECT_THAT(chunks, ElementsAre(32768, 16192, 12416, 10368, 9088, 8192, 7488, 6912, 6464, 6080,
                                  5760, 5504, 3840));
}

TEST(AtomPolicy, OnlyForAPromptThatIsAlone) {
  AtomPolicy policy(atom_model(), 400, {.smooth_factor = 1.0, .min_chunk_tokens = 0});
  const std::array prompts{after(500, 5000), after(0, 100)};
  policy.set_backlog(prompts, 1);
  policy.begin_step();
  EXPECT_EQ(take(policy, after(500, 300)), 300);
  EXPECT_EQ(take(policy, after(0)), 100);  // steps hold the base
  policy.set_backlog(std::span(prompts).first(1), 1);
  for (int step = 0; step < 3; ++step) {
    EXPECT_EQ(first_chunk(policy, after(500)), 400);
  }
  EXPECT_EQ(first_chunk(policy, after(500)), 128);
}

TEST(AtomPolicy, RefusesBadArguments) {
  EXPECT_THROW(AtomPolicy(atom_model(), 0), InvalidArgument);
  EXPECT_THROW(AtomPolicy(atom_model(), 400, {.smooth_factor = 2.0}), InvalidArgument);
  EXPECT_THROW(AtomPolicy(atom_model(), 400, {.min_chunk_tokens = -1}), InvalidArgument);
  EXPECT_THROW(AtomPolicy(atom_model(), 400, {.block_tokens = 0}), InvalidArgument);
  EXPECT_THROW(AtomPolicy(atom_model(), 400, {.max_overhead_share = kNan}), InvalidArgument);
  EXPECT_THROW(AtomPolicy(atom_model(), 400, {.num_recent_steps = 0}), InvalidArgument);
}

TEST(Policies, AlwaysAnswerInRange) {
  for (const double size : {0.0, 1e-300, 1.0, 1e300}) {
    const LatencyModel model(
        {.quadratic = size, .cross = size, .linear = size, .context = size, .constant = size});
    FixedPolicy fixed(1000);
    SglangPolicy sglang(model, 1000);
    VllmAscendPolicy ascend(model, 1000);
    AtomPolicy atom(model, 1000);
    for (ChunkPolicy* policy :
         std::initializer_list<ChunkPolicy*>{&fixed, &sglang, &ascend, &atom}) {
      for (const std::int64_t history : {std::int64_t{0}, kMany, kMaxTokens}) {
        policy->begin_step();
        const std::int64_t num_tokens = policy->chunk_tokens(after(history, 700), 500);
        EXPECT_GE(num_tokens, 1) << size << " " << history;
        EXPECT_LE(num_tokens, 500) << size << " " << history;
      }
    }
  }
}

}  // namespace
}  // namespace cpp_chunk
