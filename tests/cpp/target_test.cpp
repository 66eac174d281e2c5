#include "cpp_chunk/target.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include "cpp_chunk/error.h"
#include "cpp_chunk/flow_shop.h"
#include "cpp_chunk/packing.h"
#include "cpp_chunk/plan.h"

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
  EXPECT_TRUE(pack_steps(solver, std::span<const PromptWork>(&prompt, 1), StepTargets(target_ms),
                         flow_shop, {.max_steps = 1000}, [](const Chunk&) {}));
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
  EXPECT_TRUE(pack_steps(solver, std::span<const PromptWork>(&prompt, 1), StepTargets(target_ms),
                         flow_shop, {.max_steps = 1000}, [](const Chunk&) {}));
  EXPECT_LE(flow_shop.num_steps(), 30);
}

// The published Kimi-K2.5 stage with the engine's gap: the context that each chunk repeats is dear.
const LatencyModel& kimi() {
  static const LatencyModel model({.quadratic = 6.5e-7,
                                   .cross = 6.5e-7,
                                   .linear = 6.03e-3,
                                   .context = 5.39e-4,
                                   .constant = 43.6});
  return model;
}

TEST(BestTarget, OfALongBacklogFillsTheSteps) {
  // Thousands of steps at the cap: the closed form's step would hold little beside the history.
  const Stages stages(kimi(), 4);
  const ChunkLimits limits{.max_chunk_tokens = 2048, .alignment = 16};
  const std::vector<PromptWork> backlog(10'000, PromptWork{.num_tokens = 131'072});
  const Chunk last{.num_tokens = 2048, .num_computed_tokens = 131'072 - 2048};
  for (const std::size_t num_prompts : {std::size_t{56}, std::size_t{57}, backlog.size()}) {
    EXPECT_GE(best_target_ms(stages, std::span(backlog).first(num_prompts), limits),
              kimi().step_ms(std::span(&last, 1)))
        << num_prompts;
  }
}

// What an engine does without us: every step full, first come first served.
double full_steps_ms(const Stages& stages, std::span<const PromptWork> prompts,
                     std::int64_t cap_tokens) {
  FlowShop flow_shop(stages);
  StepFeatures step;
  std::int64_t left_tokens = cap_tokens;
  for (PromptWork prompt : prompts) {
    while (prompt.num_tokens > 0) {
      const std::int64_t num_tokens = std::min(prompt.num_tokens, left_tokens);
      step.add({.num_tokens = num_tokens, .num_computed_tokens = prompt.num_computed_tokens});
      prompt.num_tokens -= num_tokens;
      prompt.num_computed_tokens += num_tokens;
      left_tokens -= num_tokens;
      if (left_tokens == 0) {
        flow_shop.add(step);
        step = {};
        left_tokens = cap_tokens;
      }
    }
  }
  if (left_tokens < cap_tokens) {
    flow_shop.add(step);
  }
  return flow_shop.makespan_ms();
}

class RandomBacklogs {
 public:
  // 0 in one of five, else spread over orders of magnitude.
  double zero_or(double low, double high) {
    return uniform(0.0, 1.0) < 0.2 ? 0.0 : std::pow(10.0, uniform(low, high));
  }
  double uniform(double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(engine_);
  }
  std::int64_t whole(double low, double high) {
    return static_cast<std::int64_t>(std::pow(10.0, uniform(low, high)));
  }
  LatencyModel model() {
    const double quadratic = zero_or(-9.0, -4.0);
    return LatencyModel({.quadratic = quadratic,
                         .cross = uniform(0.0, 1.0) < 0.5 ? quadratic : zero_or(-9.0, -4.0),
                         .linear = zero_or(-4.0, 0.0),
                         .context = zero_or(-6.0, -2.0),
                         .constant = zero_or(-1.0, 3.0)});
  }
  Stages stages() {
    if (uniform(0.0, 1.0) < 0.5) {
      return {model(), whole(0.0, 1.2)};
    }
    const bool is_alike = uniform(0.0, 1.0) < 0.5;
    const LatencyModel first = model();
    std::vector<LatencyModel> models;
    for (std::int64_t stage = whole(0.0, 0.9); stage > 0; --stage) {
      models.push_back(is_alike ? first.scaled(uniform(0.5, 2.0)) : model());
    }
    return Stages(models);
  }
  // One to 10000 prompts of up to 10 million tokens, of one length, of any, or of any magnitude.
  std::vector<PromptWork> prompts() {
    std::vector<PromptWork> prompts(static_cast<std::size_t>(whole(0.0, 4.0)));
    const double most = uniform(1.0, prompts.size() < 4 ? 7.0 : 5.0);
    const double kind = uniform(0.0, 1.0);
    const bool has_history = uniform(0.0, 1.0) < 0.3;
    for (PromptWork& prompt : prompts) {
      prompt.num_tokens =
          kind < 0.4   ? static_cast<std::int64_t>(std::pow(10.0, most))
          : kind < 0.7 ? whole(0.0, most)
                       : 1 + static_cast<std::int64_t>(std::pow(10.0, most) * uniform(0.0, 1.0));
      prompt.num_computed_tokens = has_history ? whole(0.0, 5.0) : 0;
    }
    return prompts;
  }

 private:
  std::mt19937_64 engine_{0};
};

TEST(BestTarget, IsNeverLaterThanFullSteps) {
  RandomBacklogs random;
  int num_cases = 0;
  for (int i = 0; i < 300; ++i) {
    const Stages stages = random.stages();
    const std::vector<PromptWork> prompts = random.prompts();
    const ChunkLimits limits{.max_chunk_tokens = random.whole(1.5, 4.5)};
    double total_tokens = 0.0;
    for (const PromptWork& prompt : prompts) {
      total_tokens += static_cast<double>(prompt.num_tokens);
    }
    if (total_tokens / static_cast<double>(limits.max_chunk_tokens) > 50'000.0) {
      continue;
    }
    ++num_cases;
    const StepTargets targets = best_step_targets(stages, prompts, limits);
    ChunkSolver solver(stages[slowest_stage(stages, prompts)], limits);
    FlowShop flow_shop(stages);
    const double full_ms = full_steps_ms(stages, prompts, limits.max_chunk_tokens);
    EXPECT_TRUE(pack_steps(solver, std::span<const PromptWork>(prompts), targets, flow_shop,
                           {.max_steps = 1'000'000, .makespan_ms = 2.0 * full_ms + 1.0},
                           [](const Chunk&) {}))
        << i;
    EXPECT_LE(flow_shop.makespan_ms(), 1.005 * full_ms + 1e-9)
        << i << ": " << stages.size() << " stages, " << prompts.size() << " prompts, "
        << total_tokens / static_cast<double>(limits.max_chunk_tokens) << " steps";
  }
  EXPECT_GT(num_cases, 200);
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
  EXPECT_NEAR(makespan_bound_ms(Stages(model, 1), halves), 1010.0, 1e-5);
  EXPECT_THROW((void)makespan_bound_ms(Stages(model, 5), {}), InvalidArgument);
}

TEST(MakespanBound, IsNotFarBelowThePlan) {
  const PromptWork prompt{.num_tokens = 131'072};
  const ChunkLimits limits{.max_chunk_tokens = 131'072};
  const auto share = [&](const Stages& stages) {
    return makespan_bound_ms(stages, std::span(&prompt, 1)) /
           plan_chunks(stages, prompt.num_tokens, limits).makespan_ms;
  };
  EXPECT_GT(share(Stages(kimi(), 4)), 0.96);
  EXPECT_GT(share(Stages(kimi(), 16)), 0.9);
  const LatencyModel dear_cross(
      {.quadratic = 3e-7, .cross = 9e-7, .linear = 6e-3, .constant = 40.0});
  EXPECT_GT(share(Stages(dear_cross, 4)), 0.97);
  EXPECT_GT(share(Stages({kimi(), kimi().scaled(1.2), kimi()})), 0.85);
}

TEST(BaseTarget, PublishedRule) {
  const LatencyModel model(
      {.quadratic = 2.0, .cross = 3.0, .linear = 5.0, .context = 7.0, .constant = 11.0});
  EXPECT_DOUBLE_EQ(base_target_ms(model, 4), 11.0 + 16.0 + 20.0);
  EXPECT_THROW((void)base_target_ms(model, 0), InvalidArgument);
}

}  // namespace
}  // namespace cpp_chunk
