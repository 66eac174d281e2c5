#include "cpp_chunk/makespan_bound.h"

#include <gtest/gtest.h>

#include <cmath>
#include <span>
#include <vector>

#include "cpp_chunk/error.h"
#include "cpp_chunk/plan.h"

namespace cpp_chunk {
namespace {

const LatencyModel& kimi() {
  static const LatencyModel model({.quadratic = 6.5e-7,
                                   .cross = 6.5e-7,
                                   .linear = 6.03e-3,
                                   .context = 5.39e-4,
                                   .constant = 43.6});
  return model;
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

}  // namespace
}  // namespace cpp_chunk
