#include "cpp_chunk/fixed_size_trials.h"

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "cpp_chunk/fixed_chunks.h"

namespace cpp_chunk {

void try_fixed_sizes(const Stages& stages, const LatencyModel& model, const PromptWork& prompt,
                     const ChunkLimits& limits, Trials& trials) {
  for (const std::int64_t size : usual_fixed_sizes(limits, prompt.num_tokens)) {
    const double limit_ms = kOtherGain * trials.best_makespan_ms();
    const FixedChunks fixed =
        cut_into_fixed_chunks(stages, prompt, size, limits.alignment, limit_ms);
    if (fixed.makespan_ms >= limit_ms) {
      continue;
    }
    std::vector<double> step_ms(fixed.chunks.size());
    std::ranges::transform(fixed.chunks, step_ms.begin(), [&model](const Chunk& chunk) {
      return model.step_ms(StepFeatures::of(chunk));
    });
    trials.run_row(step_ms);
  }
}

}  // namespace cpp_chunk
