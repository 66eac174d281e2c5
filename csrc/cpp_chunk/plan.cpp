#include "cpp_chunk/plan.h"

#include <limits>
#include <span>
#include <string>

#include "cpp_chunk/error.h"
#include "cpp_chunk/packing.h"
#include "cpp_chunk/target.h"

namespace cpp_chunk {
namespace {

// A plan is a list in memory; beyond this many entries it is somebody's mistake.
constexpr std::int64_t kMaxPlanSteps = 20'000'000;

}  // namespace

Plan plan_chunks(const LatencyModel& model, std::int64_t prompt_tokens, std::int64_t num_stages,
                 const ChunkLimits& limits, std::int64_t num_computed_tokens) {
  if (num_computed_tokens < 0 || prompt_tokens <= num_computed_tokens ||
      prompt_tokens > kMaxTokens) {
    throw InvalidArgument("a plan needs 0 <= num_computed_tokens < prompt_tokens <= " +
                          std::to_string(kMaxTokens) + ", got num_computed_tokens " +
                          std::to_string(num_computed_tokens) + " and prompt_tokens " +
                          std::to_string(prompt_tokens));
  }
  const PromptWork prompt{.num_tokens = prompt_tokens - num_computed_tokens,
                          .num_computed_tokens = num_computed_tokens};
  const std::span<const PromptWork> prompts(&prompt, 1);
  Plan plan;
  plan.target_ms = best_target_ms(model, prompts, num_stages, limits);
  ChunkSolver solver(model, limits);
  const PackedSteps packed =
      pack_steps(solver, prompts, plan.target_ms, num_stages, {.max_steps = kMaxPlanSteps},
                 [&plan](const Chunk& chunk) { plan.chunks.push_back(chunk.num_tokens); });
  if (!packed.is_complete) {
    throw InvalidArgument("a plan of " + std::to_string(prompt_tokens) + " tokens in chunks of " +
                          std::to_string(plan.chunks.front()) + " is too long to list; raise " +
                          "min_chunk_tokens or alignment");
  }
  plan.makespan_ms = packed.makespan_ms(num_stages);
  return plan;
}

}  // namespace cpp_chunk
