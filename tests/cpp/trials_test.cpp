#include "cpp_chunk/trials.h"

#include <gtest/gtest.h>

#include <array>
#include <span>
#include <vector>

namespace cpp_chunk {
namespace {

// 1000 tokens of 1 ms each through four stages, 10 ms a step: full steps are one of 1010 ms.
class TrialsTest : public ::testing::Test {
 protected:
  [[nodiscard]] Trials trials(double full_steps = 1.0) const {
    return {stages_, 0, prompts_, limits_, cap_ms(), full_steps};
  }
  [[nodiscard]] static double cap_ms() { return 1010.0; }

  Stages stages_{LatencyModel({.linear = 1.0, .constant = 10.0}), 4};
  std::array<PromptWork, 1> prompts_{PromptWork{.num_tokens = 1000}};
  ChunkLimits limits_{.max_chunk_tokens = 1000};
};

TEST_F(TrialsTest, BeginWithFullSteps) {
  const Trials begun = trials();
  EXPECT_FALSE(begun.is_sampled());
  EXPECT_EQ(begun.best().longest_ms(), cap_ms());
  EXPECT_DOUBLE_EQ(begun.best_makespan_ms(), 4 * 1010.0);
}

TEST_F(TrialsTest, KeepTheSoonest) {
  Trials tried = trials();
  tried.run(510.0);
  EXPECT_EQ(tried.best().longest_ms(), 510.0);
  EXPECT_DOUBLE_EQ(tried.best_makespan_ms(), 5 * 510.0);
  tried.run(1010.0);
  EXPECT_EQ(tried.best().longest_ms(), 510.0);
}

TEST_F(TrialsTest, NoStepIsLongerThanMaxStep) {
  limits_.max_step_ms = 260.0;
  Trials tried = trials();
  tried.run(900.0);
  EXPECT_LE(tried.best_makespan_ms(), 7 * 260.0);
  tried.run_row({900.0, 900.0});
  EXPECT_LE(tried.best_makespan_ms(), 7 * 260.0);
}

TEST_F(TrialsTest, NoStepIsLongerThanMaxStepOnAnyStage) {
  // The second stage takes longest, and the first one prices.
  stages_ =
      Stages({LatencyModel({.linear = 1.0, .constant = 10.0}), LatencyModel({.linear = 2.0})});
  limits_.max_step_ms = 500.0;
  // Four steps of 250 tokens: the second stage begins when the first one has done with the first.
  EXPECT_DOUBLE_EQ(trials().best_makespan_ms(), 260.0 + 4 * 500.0);
}

TEST_F(TrialsTest, LookBetweenTwoTargets) {
  Trials tried = trials();
  tried.run_between(110.0, 1010.0);
  EXPECT_GT(tried.best().longest_ms(), 110.0);
  EXPECT_LT(tried.best().longest_ms(), 300.0);
  Trials other_way_round = trials();
  other_way_round.run_between(1010.0, 110.0);
  EXPECT_EQ(other_way_round.best().longest_ms(), cap_ms());
}

TEST_F(TrialsTest, ARowMustBeMoreThanALittleSooner) {
  Trials tried = trials();
  tried.run(510.0);
  // 1000 tokens in steps of 499 and 501: as long as equal ones within the gain.
  tried.run_row({509.0, 511.0});
  EXPECT_EQ(tried.best().step_ms(), std::vector{510.0});
  const std::vector<double> row{260.0, 260.0, 260.0, 260.0};
  tried.run_row(row);
  EXPECT_EQ(tried.best().step_ms(), row);
  EXPECT_DOUBLE_EQ(tried.best_makespan_ms(), 7 * 260.0);
}

TEST_F(TrialsTest, ARowIsTriedLongerToo) {
  Trials tried = trials();
  // As made, the row leaves a rest of 20 tokens for a step more; by 1 % longer, one of 8.
  tried.run_row(std::vector(20, 59.0), 2, 0.01);
  EXPECT_NEAR(tried.best().longest_ms(), 1.02 * 59.0, 1e-9);
  EXPECT_DOUBLE_EQ(tried.best_makespan_ms(), 23 * 60.0);  // 50 tokens each
}

TEST_F(TrialsTest, AreOfASampleWhereTheBacklogTakesManyFullSteps) {
  prompts_ = {PromptWork{.num_tokens = 2'000'000}};
  EXPECT_TRUE(trials(2000.0).is_sampled());
  EXPECT_FALSE(trials(kSampleSteps).is_sampled());
}

TEST_F(TrialsTest, TryNoPlanOfMoreStepsThanAreLeft) {
  Trials tried = trials();
  EXPECT_TRUE(tried.can_try(3600.0));
  EXPECT_FALSE(tried.can_try(4000.0));
  // A token a step, until it is behind full steps: some hundreds of steps are used up.
  tried.run(11.0);
  EXPECT_FALSE(tried.can_try(3600.0));
  EXPECT_TRUE(tried.can_try(3000.0));
}

}  // namespace
}  // namespace cpp_chunk
