#include "cpp_chunk/backlog_flow.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <span>
#include <vector>

#include "cpp_chunk/error.h"

namespace cpp_chunk {
namespace {

TEST(BacklogFlow, ClosedFormByHand) {
  // W = 1000 ms, c = 10 ms, S = 5: N = sqrt(4*1000/10) = 20, and (sqrt(W) + sqrt(4*c))^2
  const LatencyModel model({.linear = 0.01, .constant = 10.0});
  const std::array prompts{PromptWork{.num_tokens = 100'000}};
  const BacklogFlow flow(Stages(model, 5), prompts);
  EXPECT_NEAR(flow.best_steps(1.0, 1e5), 20.0, 0.01);
  EXPECT_DOUBLE_EQ(flow.step_ms(20.0), 60.0);
  EXPECT_DOUBLE_EQ(flow.makespan_ms(20.0), 24.0 * 60.0);
  EXPECT_NEAR(flow.makespan_ms(20.0), std::pow(std::sqrt(1000.0) + std::sqrt(40.0), 2.0), 1e-9);
  EXPECT_DOUBLE_EQ(flow.total_tokens(), 100'000.0);
}

TEST(BacklogFlow, BestStepsKeepsItsBounds) {
  const LatencyModel model({.linear = 0.01, .constant = 10.0});
  const std::array prompts{PromptWork{.num_tokens = 100'000}};
  const BacklogFlow flow(Stages(model, 5), prompts);
  EXPECT_DOUBLE_EQ(flow.best_steps(50.0, 1e5), 50.0);
  EXPECT_NEAR(flow.best_steps(1.0, 7.0), 7.0, 1e-9);
  EXPECT_LE(flow.best_steps(1.0, 7.0), 7.0 + 1e-9);
  EXPECT_DOUBLE_EQ(flow.best_steps(3.0, 3.0), 3.0);
}

TEST(BacklogFlow, CuttingSavesWhatQuadraticCostsMoreThanCross) {
  // 10 tokens: 2*10^2/2 uncut; two chunks of 5 without a price on history: 2*2*5^2/2
  const std::array prompts{PromptWork{.num_tokens = 10}};
  const BacklogFlow flow(Stages(LatencyModel({.quadratic = 2.0}), 2), prompts);
  EXPECT_DOUBLE_EQ(flow.work_ms(1.0), 100.0);
  EXPECT_DOUBLE_EQ(flow.work_ms(2.0), 50.0);
}

TEST(BacklogFlow, EqualPricesTelescope) {
  // Whatever the cut: 2*(14^2/2 - 4^2/2)
  const std::array prompts{PromptWork{.num_tokens = 10, .num_computed_tokens = 4}};
  const BacklogFlow flow(Stages(LatencyModel({.quadratic = 2.0, .cross = 2.0}), 2), prompts);
  EXPECT_DOUBLE_EQ(flow.work_ms(1.0), 180.0);
  EXPECT_DOUBLE_EQ(flow.work_ms(7.0), 180.0);
}

TEST(BacklogFlow, EachStepPaysForItsHistory) {
  // Two chunks of 5 after 4: histories of 4 and 9
  const std::array prompts{PromptWork{.num_tokens = 10, .num_computed_tokens = 4}};
  const BacklogFlow flow(Stages(LatencyModel({.context = 1.0}), 2), prompts);
  EXPECT_DOUBLE_EQ(flow.work_ms(1.0), 4.0);
  EXPECT_DOUBLE_EQ(flow.work_ms(2.0), 13.0);
}

TEST(BacklogFlow, UncutPromptsNeverCostLessThanNothing) {
  // 0 but for rounding, since nothing is history yet; found by fuzzing
  const std::vector<PromptWork> prompts(256, {.num_tokens = 37437});
  const BacklogFlow flow(Stages(LatencyModel({.cross = 0.1}), 2), prompts);
  EXPECT_GE(flow.work_ms(1.0), 0.0);
}

TEST(BacklogFlow, PromptsShareTheStepsByTheirWork) {
  // Of four steps the prompt of 30 tokens gets three: histories of 0, 10, 20.
  const std::array prompts{PromptWork{.num_tokens = 30}, PromptWork{.num_tokens = 10},
                           PromptWork{.num_tokens = 0, .num_computed_tokens = 99}};
  const BacklogFlow flow(Stages(LatencyModel({.linear = 1.0, .context = 1.0}), 2), prompts);
  EXPECT_DOUBLE_EQ(flow.work_ms(4.0), 40.0 + 30.0);
}

TEST(BacklogFlow, WeightsOfUnequalStages) {
  const LatencyModel model({.linear = 0.01, .constant = 10.0});
  const std::array prompts{PromptWork{.num_tokens = 100'000}};
  const BacklogFlow flow(Stages({model, model.scaled(1.25), model.scaled(0.5)}), prompts);
  EXPECT_EQ(flow.slowest_stage(), 1U);
  ASSERT_EQ(flow.weights().size(), 3U);
  EXPECT_NEAR(flow.weights()[0], 0.8, 1e-12);
  EXPECT_NEAR(flow.weights()[1], 1.0, 1e-12);
  EXPECT_NEAR(flow.weights()[2], 0.4, 1e-12);
  // Ten steps on the slowest stage, and 0.8 + 0.4 of one on the others.
  EXPECT_NEAR(flow.step_ms(10.0), 1.25 * 110.0, 1e-9);
  EXPECT_NEAR(flow.makespan_ms(10.0), 11.2 * 1.25 * 110.0, 1e-9);
}

TEST(BacklogFlow, TheSlowestStageDependsOnTheBacklog) {
  // Dear tokens or a dear step: which counts depends on how much there is to do.
  const Stages stages({LatencyModel({.linear = 1.0, .constant = 1.0}),
                       LatencyModel({.linear = 0.1, .constant = 50.0})});
  const std::array few{PromptWork{.num_tokens = 10}};
  const std::array many{PromptWork{.num_tokens = 1'000'000}};
  EXPECT_EQ(BacklogFlow(stages, few).slowest_stage(), 1U);
  EXPECT_EQ(BacklogFlow(stages, many).slowest_stage(), 0U);
}

TEST(BacklogFlow, StagesOfNothingOrBeyondADoubleHaveWeights) {
  const std::array prompts{PromptWork{.num_tokens = 1000}};
  const LatencyModel free;
  const LatencyModel dear({.linear = 1.0});
  const LatencyModel huge({.linear = 1e308, .constant = 1e308});
  for (const Stages& stages :
       {Stages({free, dear}), Stages({dear, huge}), Stages({huge, huge.scaled(0.5), free})}) {
    const BacklogFlow flow(stages, prompts);
    for (const double weight : flow.weights()) {
      EXPECT_GT(weight, 0.0);
      EXPECT_LE(weight, 1.0);
    }
  }
}

TEST(CheckPrompts, NeedsWorkAndSaneCounts) {
  EXPECT_THROW(check_prompts({}), InvalidArgument);
  const auto check = [](PromptWork prompt) { check_prompts(std::span(&prompt, 1)); };
  EXPECT_THROW(check({}), InvalidArgument);
  EXPECT_THROW(check({.num_tokens = -1}), InvalidArgument);
  EXPECT_THROW(check({.num_tokens = 1, .num_computed_tokens = -1}), InvalidArgument);
  EXPECT_THROW(check({.num_tokens = kMaxTokens + 1}), InvalidArgument);
  EXPECT_NO_THROW(check({.num_tokens = kMaxTokens, .num_computed_tokens = kMaxTokens}));
}

}  // namespace
}  // namespace cpp_chunk
