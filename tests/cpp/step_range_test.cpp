#include "cpp_chunk/step_range.h"

#include <gtest/gtest.h>

namespace cpp_chunk {
namespace {

TEST(StepRange, BeginsWithFullSteps) {
  EXPECT_EQ(StepRange(1000.0, {.max_chunk_tokens = 300}).fewest, 4.0);
  EXPECT_EQ(StepRange(1.0, {.max_chunk_tokens = 300}).fewest, 1.0);
}

TEST(StepRange, EndsWhereTrialsDo) {
  EXPECT_EQ(StepRange(1e6, {.max_chunk_tokens = 1'000'000}).most, 3000.0);
  // A sample stands for so many times as many steps.
  EXPECT_EQ(StepRange(1024e3, {.max_chunk_tokens = 1000}).most, 6000.0);
}

}  // namespace
}  // namespace cpp_chunk
