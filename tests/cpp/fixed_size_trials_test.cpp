#include "cpp_chunk/fixed_size_trials.h"

#include <gtest/gtest.h>

#include <array>
#include <limits>

#include "cpp_chunk/fixed_chunks.h"

namespace cpp_chunk {
namespace {

TEST(FixedSizeTrials, AreNotBehindAnyUsualSizeByMoreThanTheGain) {
  const LatencyModel model({.quadratic = 6.5e-7,
                            .cross = 6.5e-7,
                            .linear = 6.03e-3,
                            .context = 5.39e-4,
                            .constant = 43.6});
  const Stages stages(model, 4);
  const std::array prompts{PromptWork{.num_tokens = 131'072}};
  const ChunkLimits limits{.max_chunk_tokens = 32'768, .alignment = 128};
  const double cap_ms = std::numeric_limits<double>::max();
  Trials trials(stages, 0, prompts, limits, cap_ms, 4.0);
  const double full_ms = trials.best_makespan_ms();
  try_fixed_sizes(stages, model, prompts.front(), limits, trials);
  EXPECT_LT(trials.best_makespan_ms(), full_ms);
  for (const std::int64_t size : usual_fixed_sizes(limits, prompts.front().num_tokens)) {
    const FixedChunks fixed =
        cut_into_fixed_chunks(stages, prompts.front(), size, limits.alignment);
    EXPECT_LE(kOtherGain * trials.best_makespan_ms(), fixed.makespan_ms) << size;
  }
}

}  // namespace
}  // namespace cpp_chunk
