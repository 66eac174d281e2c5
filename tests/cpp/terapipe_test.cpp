#include "cpp_chunk/simulator/terapipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "cpp_chunk/error.h"
#include "cpp_chunk/simulator/policies/terapipe_policy.h"
#include "cpp_chunk/simulator/simulate.h"

namespace cpp_chunk {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

const LatencyModel& kimi() {
  static const LatencyModel model({.quadratic = 6.5e-7,
                                   .cross = 6.5e-7,
                                   .linear = 6.03e-3,
                                   .context = 5.39e-4,
                                   .constant = 43.6});
  return model;
}

double step_ms(const LatencyModel& model, std::int64_t num_tokens, std::int64_t history) {
  StepFeatures features;
  features.add({.num_tokens = num_tokens, .num_computed_tokens = history});
  return model.step_ms(features);
}

// All cuts there are, one after the other.
struct BruteForce {
  const LatencyModel& model;
  std::int64_t end;
  std::int64_t max_chunk_tokens;
  std::int64_t granule_tokens;
  double extra_stages;
  double best_ms = std::numeric_limits<double>::infinity();

  void go(std::int64_t begin, double sum_ms, double max_ms) {
    if (begin == end) {
      best_ms = std::min(best_ms, sum_ms + extra_stages * max_ms);
      return;
    }
    for (std::int64_t length = granule_tokens; length - granule_tokens < end - begin;
         length += granule_tokens) {
      const std::int64_t num_tokens = std::min(length, end - begin);
      if (num_tokens > max_chunk_tokens) {
        return;
      }
      const double ms = step_ms(model, num_tokens, begin);
      go(begin + num_tokens, sum_ms + ms, std::max(max_ms, ms));
    }
  }
};

TEST(TerapipePlan, IsTheBestOfAllCuts) {
  std::mt19937 random(7);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same cases every time
  std::uniform_real_distribution<double> part(0.0, 1.0);
  for (int i = 0; i < 200; ++i) {
    const LatencyModel model({.quadratic = 1e-3 * part(random),
                              .cross = 1e-3 * part(random),
                              .linear = 0.1 * part(random),
                              .context = i % 2 == 0 ? 0.0 : 0.02 * part(random),
                              .constant = 10.0 * part(random)});
    const std::int64_t granule_tokens = 16;
    const auto num_tokens = static_cast<std::int64_t>(1.0 + 230.0 * part(random));
    const std::int64_t history = i % 3 == 0 ? 0 : 100;
    const auto max_chunk_tokens = static_cast<std::int64_t>(16.0 + 150.0 * part(random));
    const Stages stages(model, 1 + i % 6);
    BruteForce brute{.model = model,
                     .end = history + num_tokens,
                     .max_chunk_tokens = max_chunk_tokens,
                     .granule_tokens = granule_tokens,
                     .extra_stages = static_cast<double>(stages.size() - 1)};
    brute.go(history, 0.0, 0.0);
    const Plan plan =
        terapipe_plan(stages, history + num_tokens, max_chunk_tokens, granule_tokens, history);
    EXPECT_NEAR(plan.makespan_ms / brute.best_ms, 1.0, 1e-8) << i;
    EXPECT_EQ(std::accumulate(plan.chunks.begin(), plan.chunks.end(), std::int64_t{0}), num_tokens);
    EXPECT_LE(*std::ranges::max_element(plan.chunks), max_chunk_tokens);
  }
}

TEST(TerapipePlan, HandComputed) {
  // 4 tokens at 1 ms, 1 ms a step, 3 stages. One step: 5 + 2 * 5 = 15. Two of 2: 6 + 2 * 3 = 12.
  // Four of 1: 8 + 2 * 2 = 12. Two and two ones: 7 + 6 = 13.
  const LatencyModel model({.linear = 1.0, .constant = 1.0});
  const Stages stages(model, 3);
  const Plan plan = terapipe_plan(stages, 4, 4, 1);
  EXPECT_DOUBLE_EQ(plan.makespan_ms, 12.0);
  EXPECT_DOUBLE_EQ(terapipe_plan(Stages(model, 1), 4, 4, 1).makespan_ms, 5.0);
}

TEST(TerapipePlan, MakespanIsThatOfItsChunks) {
  const Stages stages(kimi(), 4);
  const Plan plan = terapipe_plan(stages, 131'072, 32768, 128, 1000);
  double sum_ms = 0.0;
  double max_ms = 0.0;
  std::int64_t done = 1000;
  for (const std::int64_t chunk : plan.chunks) {
    const double ms = step_ms(kimi(), chunk, done);
    sum_ms += ms;
    max_ms = std::max(max_ms, ms);
    done += chunk;
  }
  EXPECT_EQ(done, 131'072);
  EXPECT_NEAR(plan.makespan_ms, sum_ms + 3.0 * max_ms, 1e-6);
  EXPECT_THAT(plan.step_targets_ms, ElementsAre(max_ms));
}

TEST(TerapipePlan, EndsWhereTimesCannotBeHalved) {
  // The least time that a double holds; found by fuzzing
  const Stages stages(LatencyModel({.constant = std::numeric_limits<double>::denorm_min()}), 5);
  EXPECT_EQ(terapipe_plan(stages, 1, 64, 64).chunks, (std::vector<std::int64_t>{1}));
}

TEST(TerapipePlan, RefusesWhatItCannotPlan) {
  const Stages stages(kimi(), 2);
  EXPECT_THROW((void)terapipe_plan(stages, 0, 10, 1), InvalidArgument);
  EXPECT_THROW((void)terapipe_plan(stages, 100, 0, 1), InvalidArgument);
  EXPECT_THROW((void)terapipe_plan(stages, 100, 10, 0), InvalidArgument);
  EXPECT_THROW((void)terapipe_plan(stages, 100, 10, 11), InvalidArgument);
  EXPECT_THROW((void)terapipe_plan(stages, 100, 10, 1, 100), InvalidArgument);
  EXPECT_THROW((void)terapipe_plan(stages, 100, 10, 1, -1), InvalidArgument);
  EXPECT_THROW((void)terapipe_plan(stages, kMaxTokens, 10, 1), InvalidArgument);
  const Stages dear(LatencyModel({.quadratic = 1e308}), 2);
  EXPECT_THROW((void)terapipe_plan(dear, 1'000'000, 1000, 1000), InvalidArgument);
  const Stages unequal({kimi(), LatencyModel({.linear = 1.0})});
  EXPECT_THROW((void)terapipe_plan(unequal, 100, 10, 1), InvalidArgument);
}

SimulatedPipeline pipeline_of(const Stages& stages) {
  // Room for all steps at once, as the flow shop's formula has it.
  return {.stages = {stages.models().begin(), stages.models().end()},
          .max_num_batched_tokens = 32768,
          .max_in_flight = 1000};
}

TEST(TerapipePolicy, FollowsThePlan) {
  const Stages stages(kimi(), 4);
  TerapipePolicy policy(stages, 32768, 128);
  for (const std::int64_t cached_tokens : {0, 1000}) {
    const Plan plan = terapipe_plan(stages, 131'072, 32768, 128, cached_tokens);
    const std::vector<SimulatedRequest> requests{
        {.prompt_tokens = 131'072, .cached_tokens = cached_tokens}};
    const SimulationResult result = simulate(pipeline_of(stages), requests, policy, true);
    std::vector<std::int64_t> chunks;
    for (const SimulatedStep& step : result.steps) {
      chunks.push_back(step.chunks.front().num_tokens);
    }
    EXPECT_EQ(chunks, plan.chunks);
    EXPECT_NEAR(result.ttft_ms.mean, plan.makespan_ms, 1e-6);
  }
}

TEST(TerapipePolicy, APlannedChunkIsNotSharedOut) {
  const Stages stages(LatencyModel({.linear = 1.0, .constant = 1.0}), 1);
  TerapipePolicy policy(stages, 100, 10);
  policy.begin_step();
  const auto take = [&policy](const PromptWork& prompt, std::int64_t max_tokens) {
    const std::int64_t num_tokens = policy.chunk_tokens(prompt, max_tokens);
    if (num_tokens > 0) {
      policy.add_chunk(
          {.num_tokens = num_tokens, .num_computed_tokens = prompt.num_computed_tokens});
    }
    return num_tokens;
  };
  // One stage: as few chunks as can be, of which the first may be the shorter one.
  EXPECT_EQ(take({.num_tokens = 60}, 100), 60);
  EXPECT_EQ(take({.num_tokens = 50}, 40), 0);  // waits for a step of its own
  policy.begin_step();
  EXPECT_EQ(take({.num_tokens = 100}, 97), 97);  // decodes took the rest
  policy.begin_step();
  EXPECT_EQ(take({.num_tokens = 3, .num_computed_tokens = 97}, 100), 3);
}

TEST(TerapipePolicy, DecodesDoNotMakeItPlanAnew) {
  const Stages stages(kimi(), 2);
  TerapipePolicy policy(stages, 1024, 128);
  SimulatedPipeline pipeline = pipeline_of(stages);
  pipeline.max_num_batched_tokens = 1024;
  std::vector<SimulatedRequest> requests(20, {.prompt_tokens = 100, .output_tokens = 500});
  requests.push_back({.prompt_tokens = 100'000, .arrival_ms = 500.0});
  const SimulationResult result = simulate(pipeline, requests, policy);
  EXPECT_GT(result.num_steps, 98);
}

TEST(TerapipePolicy, KeepsPlansUpToABound) {
  const Stages stages(LatencyModel({.linear = 1.0, .constant = 1.0}), 1);
  TerapipePolicy policy(stages, 1, 1);
  // A plan of chunks of one token each, for every prompt.
  constexpr std::int64_t kPromptTokens = 400'000;
  policy.begin_step();
  EXPECT_EQ(policy.chunk_tokens({.num_tokens = kPromptTokens}, 1), 1);
  EXPECT_EQ(policy.chunk_tokens({.num_tokens = kPromptTokens + 1}, 1), 1);
  EXPECT_THAT([&] { (void)policy.chunk_tokens({.num_tokens = kPromptTokens + 2}, 1); },
              ThrowsMessage<InvalidArgument>(HasSubstr("1000000 chunks")));
  EXPECT_EQ(policy.chunk_tokens({.num_tokens = kPromptTokens}, 1), 1);

  // A prompt that gets a token of every step leaves places behind within one plan's chunk.
  TerapipePolicy slow(stages, 10'000'000, 10'000'000);
  const auto take_all = [&slow] {
    for (std::int64_t done = 0; done < 2'000'000; ++done) {
      slow.begin_step();
      ASSERT_EQ(
          slow.chunk_tokens({.num_tokens = 10'000'000 - done, .num_computed_tokens = done}, 1), 1);
      slow.add_chunk({.num_tokens = 1, .num_computed_tokens = done});
    }
  };
  EXPECT_THAT(take_all, ThrowsMessage<InvalidArgument>(HasSubstr("1000000 chunks")));
}

TEST(TerapipePolicy, RefusesBadArguments) {
  EXPECT_THROW(TerapipePolicy(Stages(kimi(), 2), 10, 0), InvalidArgument);
  const Stages unequal({kimi(), LatencyModel({.linear = 1.0})});
  EXPECT_THROW(TerapipePolicy(unequal, 10, 1), InvalidArgument);
}

}  // namespace
}  // namespace cpp_chunk
