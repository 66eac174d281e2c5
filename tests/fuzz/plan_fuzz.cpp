// Targets, bounds and whole plans.

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "cpp_chunk/error.h"
#include "cpp_chunk/makespan_bound.h"
#include "cpp_chunk/plan.h"
#include "cpp_chunk/target.h"
#include "harness.h"
#include "require.h"

namespace cpp_chunk::fuzz {
namespace {

void require_cut(const Plan& plan, std::int64_t num_computed_tokens, std::int64_t prompt_tokens,
                 std::int64_t cap, std::int64_t alignment) {
  std::int64_t end = num_computed_tokens;
  for (const std::int64_t chunk : plan.chunks) {
    require(chunk > 0 && chunk <= cap, "chunks are in [1, cap]");
    end += chunk;
    require(end == prompt_tokens || end % alignment == 0, "chunks end on the alignment");
  }
  require(end == prompt_tokens, "chunks sum to the prompt");
  require_time(plan.makespan_ms, "the makespan is a time");
}

}  // namespace

void run(Input& input) {
  try {
    const Stages stages = input.stages();
    const ChunkLimits limits = input.limits();
    const std::int64_t prompt_tokens = input.tokens();
    const std::int64_t num_computed_tokens = input.flag() ? input.tokens() : 0;
    switch (input.choice(3)) {
      case 0: {
        const StepTargets targets = best_step_targets(stages, input.prompts(), limits);
        require(!targets.step_ms().empty(), "there is a target");
        for (const double target_ms : targets.step_ms()) {
          require(std::isfinite(target_ms) && target_ms >= 0.0, "targets are finite times");
          require(target_ms <= limits.max_step_ms, "targets keep max_step_ms");
        }
        break;
      }
      case 1:
        require_time(makespan_bound_ms(stages, input.prompts()), "the bound is a time");
        break;
      case 2: {
        const std::int64_t chunk_tokens = input.tokens();
        require_cut(plan_fixed_chunks(stages, prompt_tokens, chunk_tokens, num_computed_tokens),
                    num_computed_tokens, prompt_tokens, chunk_tokens, 1);
        break;
      }
      default:
        require_cut(plan_chunks(stages, prompt_tokens, limits, num_computed_tokens),
                    num_computed_tokens, prompt_tokens, limits.max_chunk_tokens, limits.alignment);
    }
  } catch (const InvalidArgument&) {
  }
}

}  // namespace cpp_chunk::fuzz
