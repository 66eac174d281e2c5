// A solver, driven by any sequence of calls.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>

#include "cpp_chunk/chunk_solver.h"
#include "cpp_chunk/error.h"
#include "harness.h"
#include "require.h"

namespace cpp_chunk::fuzz {
namespace {

struct Step {
  bool has_prefill = false;
};

void solve(ChunkSolver& solver, const Step& step, const PromptWork& prompt, std::int64_t max_tokens,
           bool is_aligned) {
  const std::int64_t chunk =
      solver.chunk_tokens(prompt.num_tokens, prompt.num_computed_tokens, max_tokens);
  const ChunkLimits& limits = solver.limits();
  const std::int64_t cap = std::min({prompt.num_tokens, max_tokens, limits.max_chunk_tokens});
  require(chunk >= 0 && chunk <= cap, "a chunk is in [0, cap]");
  require(chunk > 0 || cap == 0 || step.has_prefill, "prompts always move on");
  if (chunk == 0) {
    return;
  }
  require(
      !is_aligned || chunk == cap || (prompt.num_computed_tokens + chunk) % limits.alignment == 0,
      "a chunk ends on the alignment");
  ChunkSolver after = solver;
  after.add_chunk({.num_tokens = chunk, .num_computed_tokens = prompt.num_computed_tokens});
  if (step.has_prefill || chunk > limits.alignment) {
    require(after.step_ms() <= limits.max_step_ms * (1.0 + 1e-9), "max_step_ms holds");
  }
}

}  // namespace

void run(Input& input) {
  std::optional<ChunkSolver> solver;
  bool is_aligned = true;
  try {
    const LatencyModel model = input.model();
    const ChunkLimits limits = input.limits();
    const double smooth_factor = input.flag() ? 1.0 : input.number(-2.0, 0.0);
    std::optional<std::int64_t> base;
    if (input.flag()) {
      base = input.tokens();
    }
    solver.emplace(model, limits, smooth_factor, base);
    is_aligned = smooth_factor > 0.0;
  } catch (const InvalidArgument&) {
    return;
  }
  Step step;
  for (int call = 0; call < 64 && !input.is_used_up(); ++call) {
    try {
      switch (input.choice(6)) {
        case 0:
          solver->begin_step(input.number(-2.0, 5.0),
                             input.flag() ? Rest::shared_out : Rest::as_it_falls);
          step = {};
          break;
        case 1:
          solver->set_target(input.number(-2.0, 5.0));
          break;
        case 2:
          solver->set_model(input.model());
          break;
        case 3: {
          const Chunk chunk = input.chunk();
          solver->add_chunk(chunk);
          step.has_prefill = step.has_prefill || chunk.num_tokens > 1;
          break;
        }
        case 4:
          solver->add_decodes(input.tokens(), input.tokens());
          break;
        default:
          solve(*solver, step, input.prompt(), input.tokens(), is_aligned);
      }
    } catch (const InvalidArgument&) {
    }
    require_time(solver->step_ms(), "a step's time is one");
  }
}

}  // namespace cpp_chunk::fuzz
