#include "cpp_chunk/flow_shop.h"

#include <gtest/gtest.h>

#include <cmath>
#include <initializer_list>
#include <limits>

namespace cpp_chunk {
namespace {

StepFeatures tokens(std::int64_t num_tokens) {
  StepFeatures features;
  features.add({.num_tokens = num_tokens, .num_computed_tokens = 0});
  return features;
}

double makespan_ms(const Stages& stages, std::initializer_list<std::int64_t> steps) {
  FlowShop flow_shop(stages);
  for (const std::int64_t num_tokens : steps) {
    flow_shop.add(tokens(num_tokens));
  }
  return flow_shop.makespan_ms();
}

const LatencyModel& token_a_ms() {
  static const LatencyModel model({.linear = 1.0});
  return model;
}

TEST(FlowShop, EqualStagesByHand) {
  // 3 + 5 + 2, and the longest once for each further stage
  EXPECT_DOUBLE_EQ(makespan_ms(Stages(token_a_ms(), 3), {3, 5, 2}), 10.0 + 2.0 * 5.0);
  EXPECT_DOUBLE_EQ(makespan_ms(Stages(token_a_ms(), 1), {3, 5, 2}), 10.0);
}

TEST(FlowShop, AShortStepWaitsTheLessTheMoreStepsAreInside) {
  // With two inside, the fourth step enters when the second has left, at 9 ms, though the first
  // stage is free at 6.
  const auto makespan = [](std::int64_t max_in_flight) {
    return makespan_ms(Stages(token_a_ms(), 2, max_in_flight), {1, 4, 1, 4, 1, 4});
  };
  // One inside: no two at a time.
  EXPECT_DOUBLE_EQ(makespan(1), 2.0 * 15.0);
  EXPECT_GT(makespan(2), makespan(3));
  EXPECT_DOUBLE_EQ(makespan(3), 19.0);
  // The first stage is never idle, so that nothing is left to gain.
  EXPECT_DOUBLE_EQ(makespan(6), 19.0);
}

// Of a row that stands for three, over that of the row sent three times.
double excess(const Stages& stages, std::initializer_list<std::int64_t> steps) {
  FlowShop once(stages, 3.0);
  FlowShop thrice(stages);
  for (int time = 0; time < 3; ++time) {
    for (const std::int64_t num_tokens : steps) {
      thrice.add(tokens(num_tokens));
      if (time == 0) {
        once.add(tokens(num_tokens));
      }
    }
  }
  return once.makespan_ms() / thrice.makespan_ms() - 1.0;
}

TEST(FlowShop, ARowThatStandsForMoreIsTheRowSentSoOften) {
  const Stages unequal({token_a_ms(), token_a_ms().scaled(2.0), token_a_ms()});
  EXPECT_DOUBLE_EQ(excess(Stages(token_a_ms(), 4), {2, 2, 2, 2}), 0.0);
  EXPECT_DOUBLE_EQ(excess(unequal, {2, 2, 2, 2}), 0.0);
  EXPECT_DOUBLE_EQ(excess(unequal, {4, 2, 3, 1}), 0.0);
  // What comes again could make up for a little of its wait.
  EXPECT_GE(excess(Stages(token_a_ms(), 4), {2, 2, 3, 4}), 0.0);
  EXPECT_LE(excess(Stages(token_a_ms(), 4), {2, 2, 3, 4}), 0.04);
}

TEST(FlowShop, UnequalStagesByHand) {
  // Stage 0 is done at 3, 4, 6; stage 1, twice as slow, at 9, 11, 15; stage 2 at 12, 13, 17.
  const Stages stages({token_a_ms(), token_a_ms().scaled(2.0), token_a_ms()});
  EXPECT_DOUBLE_EQ(makespan_ms(stages, {3, 1, 2}), 17.0);
}

TEST(FlowShop, TheOrderOfStepsCountsOnUnequalStages) {
  // Short first: the slow last stage begins after 1, and never waits: 1 + 2*(1 + 2 + 3).
  const Stages stages({token_a_ms(), token_a_ms().scaled(2.0)});
  EXPECT_DOUBLE_EQ(makespan_ms(stages, {1, 2, 3}), 13.0);
  EXPECT_DOUBLE_EQ(makespan_ms(stages, {3, 2, 1}), 15.0);
}

TEST(FlowShop, ConstantsAreEachStagesOwn) {
  // Stage 0: 2, 4; stage 1: 2 + 11 = 13, then 13 + 11.
  const Stages stages({token_a_ms(), token_a_ms().scaled(1.0).with_overhead(9.0)});
  EXPECT_DOUBLE_EQ(makespan_ms(stages, {2, 2}), 24.0);
}

TEST(FlowShop, StagesThatHardlyDifferAgreeWithEqualOnes) {
  const Stages almost({token_a_ms(), token_a_ms(), token_a_ms().scaled(1.0 + 1e-12)});
  EXPECT_NEAR(makespan_ms(almost, {3, 5, 2, 4}), makespan_ms(Stages(token_a_ms(), 3), {3, 5, 2, 4}),
              1e-9);
}

TEST(FlowShop, OnlyGrowsAndForgets) {
  for (const Stages& stages :
       {Stages(token_a_ms(), 2), Stages({token_a_ms(), token_a_ms().scaled(3.0)})}) {
    FlowShop flow_shop(stages);
    EXPECT_EQ(flow_shop.makespan_ms(), 0.0);
    double before_ms = 0.0;
    for (int step = 1; step <= 4; ++step) {
      flow_shop.add(tokens(5 - step));
      EXPECT_GE(flow_shop.makespan_ms(), before_ms);
      EXPECT_EQ(flow_shop.num_steps(), step);
      before_ms = flow_shop.makespan_ms();
    }
    flow_shop.clear();
    EXPECT_EQ(flow_shop.num_steps(), 0);
    EXPECT_EQ(flow_shop.makespan_ms(), 0.0);
  }
}

TEST(FlowShop, EndlessStepsAreNoNan) {
  const LatencyModel huge({.linear = std::numeric_limits<double>::max()});
  EXPECT_TRUE(std::isinf(makespan_ms(Stages(huge, 1), {2, 2})));
  EXPECT_TRUE(std::isinf(makespan_ms(Stages(huge, 2), {2, 2})));
  EXPECT_TRUE(std::isinf(makespan_ms(Stages({huge, token_a_ms()}), {2, 2})));
}

}  // namespace
}  // namespace cpp_chunk
