// The planner that serves, driven by any sequence of calls.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <optional>

#include "cpp_chunk/error.h"
#include "cpp_chunk/planner.h"
#include "harness.h"
#include "require.h"

namespace cpp_chunk::fuzz {
namespace {

std::optional<double> any_target(Input& input) {
  if (input.choice(3) > 0) {
    return std::nullopt;
  }
  return input.number(-2.0, 5.0);
}

}  // namespace

void run(Input& input) {
  std::optional<ChunkPlanner> planner;
  PlannerSettings settings;
  try {
    const Stages stages = input.stages();
    settings.limits = input.limits();
    settings.smooth_factor = input.flag() ? 1.0 : input.number(-2.0, 0.0);
    settings.target_ms = any_target(input);
    planner.emplace(stages, settings);
  } catch (const InvalidArgument&) {
    return;
  }
  bool has_prefill = false;
  for (int call = 0; call < 32 && !input.is_used_up(); ++call) {
    try {
      switch (input.choice(10)) {
        case 0:
          planner->begin_step();
          has_prefill = false;
          break;
        case 1:
          planner->set_stages(input.stages(), any_target(input));
          break;
        case 2:
          planner->set_backlog(input.prompts(), input.count(8));
          break;
        case 3: {
          const Chunk chunk = input.chunk();
          planner->add_chunk(chunk);
          has_prefill = has_prefill || chunk.num_tokens > 1;
          break;
        }
        case 4:
          planner->step_left(input.tokens());
          break;
        case 5:
          planner->add_decodes(input.tokens(), input.tokens(), input.tokens());
          break;
        case 6:
          planner->set_decodes(input.tokens(), input.tokens(), input.tokens());
          break;
        case 7:
          planner->step_scheduled(input.tokens(), std::array{input.chunk(), input.chunk()});
          break;
        default: {
          const PromptWork prompt = input.prompt();
          const std::int64_t max_tokens = input.tokens();
          const std::int64_t chunk = planner->chunk_tokens(prompt, max_tokens);
          const std::int64_t cap =
              std::min({prompt.num_tokens, max_tokens, settings.limits.max_chunk_tokens});
          require(chunk >= 0 && chunk <= cap, "a chunk is in [0, cap]");
          require(chunk > 0 || cap == 0 || has_prefill, "prompts always move on");
          planner->add_chunk(
              {.num_tokens = chunk, .num_computed_tokens = prompt.num_computed_tokens});
          has_prefill = has_prefill || chunk > 1;
        }
      }
    } catch (const InvalidArgument&) {
    }
    require_time(planner->step_ms(), "a step's time is one");
    require_time(planner->target_ms(), "a target is a time");
  }
}

}  // namespace cpp_chunk::fuzz
