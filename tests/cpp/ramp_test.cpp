#include "cpp_chunk/ramp.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

namespace cpp_chunk {
namespace {

constexpr std::int64_t kPromptTokens = 131'072;

// Work that no cut changes: the Kimi-K2.5 stage, its history priced as of the middle of the prompt.
LatencyModel uncut_kimi() {
  return LatencyModel({.quadratic = 6.5e-7,
                       .cross = 6.5e-7,
                       .linear = 6.03e-3,
                       .constant = 26.1 + 17.5 + 5.39e-4 * 65536});
}

Stages kimi_stages(std::size_t num_stages, std::size_t slow_stage, double factor) {
  std::vector<LatencyModel> models(num_stages, uncut_kimi());
  models[slow_stage] = models[slow_stage].scaled(factor);
  return Stages(models);
}

// An independent flow shop over times on the slowest stage and the stages' weights.
double flow_shop_ms(const std::vector<double>& weights, const std::vector<double>& step_ms) {
  std::vector<double> free_ms(weights.size(), 0.0);
  for (const double time_ms : step_ms) {
    double done_ms = 0.0;
    for (std::size_t stage = 0; stage < weights.size(); ++stage) {
      done_ms = std::max(done_ms, free_ms[stage]) + weights[stage] * time_ms;
      free_ms[stage] = done_ms;
    }
  }
  return free_ms.back();
}

struct Ramped {
  std::vector<double> step_ms;
  double makespan_ms = 0.0;
  double flow_shop_ms = 0.0;
  double equal_ms = 0.0;
  double work_ms = 0.0;
};

Ramped ramped(const Stages& stages, double fewest, double most) {
  const std::array prompts{PromptWork{.num_tokens = kPromptTokens}};
  const BacklogFlow flow(stages, prompts);
  const Ramp ramp(flow);
  Ramped result;
  result.step_ms = ramp.best_step_ms(fewest, most);
  result.makespan_ms = ramp.makespan_ms(result.step_ms);
  result.flow_shop_ms = flow_shop_ms(flow.weights(), result.step_ms);
  const auto num_steps = static_cast<double>(result.step_ms.size());
  result.equal_ms = flow.makespan_ms(flow.best_steps(fewest, most));
  result.work_ms = num_steps * flow.step_ms(num_steps);
  return result;
}

TEST(Ramp, EqualStagesGetEqualTimes) {
  const std::array prompts{PromptWork{.num_tokens = kPromptTokens}};
  const BacklogFlow flow(Stages(uncut_kimi(), 4), prompts);
  const std::vector<double> step_ms = Ramp(flow).best_step_ms(1.0, 100.0);
  EXPECT_GT(step_ms.size(), 1U);
  for (const double time_ms : step_ms) {
    EXPECT_NEAR(time_ms, step_ms.front(), 1e-9);
  }
}

TEST(Ramp, SlowLastStageByHand) {
  // w = 1/1.2 each before the last. The first step is through at 3w + 1, and the second leaves
  // stage 0 after the first one's w: it may last (3w + 1 - w)/(3w) = 1.0667, and so on.
  const Ramped ramp = ramped(kimi_stages(4, 3, 1.2), 14.0, 14.0);
  ASSERT_EQ(ramp.step_ms.size(), 14U);
  double ratio = 1.0;
  for (std::size_t i = 1; i < 4; ++i) {
    ratio *= (2.0 / 1.2 + 1.0) / (3.0 / 1.2);
    EXPECT_NEAR(ramp.step_ms[i] / ramp.step_ms[0], ratio, 1e-9) << i;
  }
  EXPECT_NEAR(ramp.step_ms[1] / ramp.step_ms[0], 1.0667, 1e-4);
}

TEST(Ramp, SlowFirstStageIsTheMirror) {
  const Ramped last = ramped(kimi_stages(4, 3, 1.2), 14.0, 14.0);
  const Ramped first = ramped(kimi_stages(4, 0, 1.2), 14.0, 14.0);
  ASSERT_EQ(first.step_ms.size(), last.step_ms.size());
  for (std::size_t i = 0; i < first.step_ms.size(); ++i) {
    EXPECT_NEAR(first.step_ms[i], last.step_ms[last.step_ms.size() - 1 - i], 1e-9);
  }
  EXPECT_NEAR(first.makespan_ms, last.makespan_ms, 1e-9);
}

TEST(Ramp, SlowMiddleStageHasTwoEnds) {
  // Half a step before and half after: the second may last (0.5 + 1 - 0.5)/0.5 = 2 of the first.
  const Ramped ramp = ramped(kimi_stages(3, 1, 2.0), 9.0, 9.0);
  ASSERT_EQ(ramp.step_ms.size(), 9U);
  EXPECT_NEAR(ramp.step_ms[1] / ramp.step_ms[0], 2.0, 1e-9);
  EXPECT_NEAR(ramp.step_ms[7] / ramp.step_ms[8], 2.0, 1e-9);
  const auto longest = std::distance(ramp.step_ms.begin(), std::ranges::max_element(ramp.step_ms));
  EXPECT_GE(longest, 3);
  EXPECT_LE(longest, 5);
}

TEST(Ramp, DoesAllTheWorkAndBeatsEqualTimes) {
  for (std::size_t slow = 0; slow < 4; ++slow) {
    for (const double factor : {1.05, 1.2, 2.0, 10.0}) {
      const Ramped ramp = ramped(kimi_stages(4, slow, factor), 1.0, 200.0);
      EXPECT_NEAR(std::accumulate(ramp.step_ms.begin(), ramp.step_ms.end(), 0.0) / ramp.work_ms,
                  1.0, 1e-9);
      EXPECT_LT(ramp.makespan_ms, ramp.equal_ms) << slow << " " << factor;
    }
  }
}

TEST(Ramp, ItsMakespanIsThatOfAFlowShop) {
  // Nothing waits that the formula leaves out: the slowest stage is busy from the first step on.
  for (std::size_t slow = 0; slow < 4; ++slow) {
    for (const double factor : {1.05, 1.2, 2.0, 10.0}) {
      const Ramped ramp = ramped(kimi_stages(4, slow, factor), 1.0, 200.0);
      EXPECT_NEAR(ramp.flow_shop_ms / ramp.makespan_ms, 1.0, 1e-9) << slow << " " << factor;
    }
  }
}

// Optima of the linear programme over the times of a given number of steps: minimise when the last
// step leaves the last stage, subject to each stage taking each step after the one before it and
// after the stage before it, the times adding up to W + steps * c on the slowest stage. W =
// (3.25e-7 * 131072^2 + 6.03e-3 * 131072) * f and c = (26.1 + 17.5 + 5.39e-4 * 65536) * f ms there
// with f how much slower it is; the other stages take 1/f of its times. Solved with HiGHS.
TEST(Ramp, IsTheLinearProgrammesOptimumWithinAPerMille) {
  const Ramped four = ramped(kimi_stages(4, 3, 1.2), 14.0, 14.0);
  EXPECT_GE(four.flow_shop_ms, 9993.187 - 1e-3);
  EXPECT_LE(four.flow_shop_ms, 1.001 * 9993.187);
  const Ramped eight = ramped(kimi_stages(8, 7, 1.15), 22.0, 22.0);
  EXPECT_GE(eight.flow_shop_ms, 11373.577 - 1e-3);
  EXPECT_LE(eight.flow_shop_ms, 1.001 * 11373.577);
}

}  // namespace
}  // namespace cpp_chunk
