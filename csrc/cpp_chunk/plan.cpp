#include "cpp_chunk/plan.h"

#include <algorithm>
#include <span>
#include <string>

#include "cpp_chunk/check.h"
#include "cpp_chunk/error.h"
#include "cpp_chunk/fixed_chunks.h"
#include "cpp_chunk/packing.h"
#include "cpp_chunk/target.h"

namespace cpp_chunk {
namespace {

// A plan is a list in memory, and each step goes through each stage: beyond this many steps it is
// somebody's mistake, and would take seconds.
constexpr std::int64_t kMaxPlanSteps = 1'000'000;
constexpr std::int64_t kMaxStageSteps = 16'000'000;

std::int64_t most_steps(const Stages& stages) {
  return std::min(kMaxPlanSteps, kMaxStageSteps / static_cast<std::int64_t>(stages.size()));
}

PromptWork rest_of_prompt(std::int64_t prompt_tokens, std::int64_t num_computed_tokens) {
  if (num_computed_tokens < 0 || prompt_tokens <= num_computed_tokens ||
      prompt_tokens > kMaxTokens) {
    const bool is_prompt = prompt_tokens < 1 || prompt_tokens > kMaxTokens;
    throw InvalidArgument(
        {.field = is_prompt ? "prompt_tokens" : "num_computed_tokens",
         .value = std::to_string(is_prompt ? prompt_tokens : num_computed_tokens)},
        "a plan needs 0 <= num_computed_tokens < prompt_tokens <= " + std::to_string(kMaxTokens) +
            ", got num_computed_tokens " + std::to_string(num_computed_tokens) +
            " and prompt_tokens " + std::to_string(prompt_tokens));
  }
  return {.num_tokens = prompt_tokens - num_computed_tokens,
          .num_computed_tokens = num_computed_tokens};
}

}  // namespace

Plan plan_chunks(const Stages& stages, std::int64_t prompt_tokens, const ChunkLimits& limits,
                 std::int64_t num_computed_tokens) {
  const PromptWork prompt = rest_of_prompt(prompt_tokens, num_computed_tokens);
  const std::span<const PromptWork> prompts(&prompt, 1);
  const StepTargets targets = best_step_targets(stages, prompts, limits);
  ChunkSolver solver(stages[0], limits);
  solver.set_stages(stages, slowest_stage(stages, prompts));
  FlowShop flow_shop(stages);
  Plan plan;
  plan.step_targets_ms = targets.step_ms();
  if (!pack_steps(solver, prompts, targets, flow_shop, {.max_steps = most_steps(stages)},
                  [&plan](const Chunk& chunk) { plan.chunks.push_back(chunk.num_tokens); })) {
    throw InvalidArgument({.field = "prompt_tokens", .value = std::to_string(prompt_tokens)},
                          "a plan of " + std::to_string(prompt_tokens) + " tokens in chunks of " +
                              std::to_string(plan.chunks.front()) + " is too long to list; raise " +
                              "min_chunk_tokens or alignment");
  }
  plan.makespan_ms = flow_shop.makespan_ms();
  return plan;
}

Plan plan_fixed_chunks(const Stages& stages, std::int64_t prompt_tokens, std::int64_t chunk_tokens,
                       std::int64_t num_computed_tokens) {
  const PromptWork prompt = rest_of_prompt(prompt_tokens, num_computed_tokens);
  check_count("chunk_tokens", chunk_tokens, 1);
  if (prompt.num_tokens / chunk_tokens >= most_steps(stages)) {
    throw InvalidArgument({.field = "chunk_tokens", .value = std::to_string(chunk_tokens)},
                          "a plan of " + std::to_string(prompt_tokens) + " tokens in chunks of " +
                              std::to_string(chunk_tokens) + " is too long to list");
  }
  const FixedChunks fixed = cut_into_fixed_chunks(stages, prompt, chunk_tokens, 1);
  const LatencyModel& model = stages[slowest_stage(stages, std::span(&prompt, 1))];
  Plan plan;
  plan.makespan_ms = fixed.makespan_ms;
  for (const Chunk& chunk : fixed.chunks) {
    plan.chunks.push_back(chunk.num_tokens);
    plan.step_targets_ms.push_back(model.step_ms(StepFeatures::of(chunk)));
  }
  return plan;
}

}  // namespace cpp_chunk
