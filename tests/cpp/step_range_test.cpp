#include "cpp_chunk/step_range.h"

#include <gtest/gtest.h>

namespace cpp_chunk {
namespace {

TEST(StepRange, IsWhatTheLimitsLeave) {
  const StepRange range(1000.0, {.max_chunk_tokens = 300, .min_chunk_tokens = 64});
  EXPECT_EQ(range.fewest, 4.0);
  EXPECT_EQ(range.most, 16.0);
}

TEST(StepRange, AFloorOfNothingIsOneToken) {
  EXPECT_EQ(StepRange(1000.0, {.max_chunk_tokens = 300, .min_chunk_tokens = 0}).most, 1000.0);
}

TEST(StepRange, HasAStepForTheSmallestBacklog) {
  const StepRange range(1.0, {.max_chunk_tokens = 300, .min_chunk_tokens = 64});
  EXPECT_EQ(range.fewest, 1.0);
  EXPECT_EQ(range.most, 1.0);
}

TEST(StepRange, EndsWhereTrialsDo) {
  EXPECT_EQ(StepRange(1e6, {.max_chunk_tokens = 1'000'000}).most, 3000.0);
  // A sample stands for so many times as many steps.
  EXPECT_EQ(StepRange(1024e3, {.max_chunk_tokens = 1000}).most, 6000.0);
}

}  // namespace
}  // namespace cpp_chunk
