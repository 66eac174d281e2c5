#include "cpp_chunk/equal_step_trials.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

namespace cpp_chunk {
namespace {

TEST(EqualStepTrials, FindTheClosedFormsBestWhereNothingElsePlays) {
  // W = 1000 ms, c = 10 ms, S = 5: T = c + sqrt(W*c/(S-1)), makespan (sqrt(W) + sqrt((S-1)*c))^2
  const Stages stages(LatencyModel({.linear = 0.01, .constant = 10.0}), 5);
  const std::array prompts{PromptWork{.num_tokens = 100'000}};
  const ChunkLimits limits{.max_chunk_tokens = 100'000};
  const BacklogFlow flow(stages, prompts);
  const StepRange range(flow.total_tokens(), limits);
  Trials trials(stages, 0, prompts, limits, 1010.0, range.fewest);
  try_equal_steps(flow, range, 1010.0, trials);
  EXPECT_NEAR(trials.best().longest_ms(), 60.0, 6.0);
  const double closed_ms = std::pow(std::sqrt(1000.0) + std::sqrt(40.0), 2.0);
  EXPECT_GE(trials.best_makespan_ms(), closed_ms * (1.0 - 1e-9));
  EXPECT_LE(trials.best_makespan_ms(), closed_ms * 1.01);
}

TEST(EqualStepTrials, FindLongerStepsThanTheClosedFormWhereOnlyTheyExist) {
  // A step costs 1000 ms for its history alone, whatever it holds.
  const Stages stages(LatencyModel({.linear = 0.1, .context = 0.01, .constant = 1.0}), 4);
  const std::array prompts{PromptWork{.num_tokens = 10'000, .num_computed_tokens = 100'000}};
  const ChunkLimits limits{.max_chunk_tokens = 10'000};
  const BacklogFlow flow(stages, prompts);
  const StepRange range(flow.total_tokens(), limits);
  Trials trials(stages, 0, prompts, limits, 3000.0, range.fewest);
  const double full_ms = trials.best_makespan_ms();
  try_equal_steps(flow, range, 3000.0, trials);
  EXPECT_LE(trials.best_makespan_ms(), full_ms);
  EXPECT_GT(trials.best().longest_ms(), 1000.0);
}

}  // namespace
}  // namespace cpp_chunk
