#include "cpp_chunk/plan.h"

#include <algorithm>
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
// Fixed sizes that need more steps are not compared: what they could gain is below a per cent.
constexpr std::int64_t kMaxFixedSteps = 8192;
// How much sooner a fixed size must finish to be preferred to equal times.
constexpr double kFixedGain = 0.995;

// One prompt in chunks of one size, on the alignment, whatever they cost.
class FixedChunks {
 public:
  FixedChunks(const LatencyModel& model, const PromptWork& prompt, std::int64_t num_stages,
              std::int64_t alignment)
      : model_(model), prompt_(prompt), num_stages_(num_stages), alignment_(alignment) {}

  template <typename Sink>
  PackedSteps pack(std::int64_t num_tokens, const GiveUp& give_up, Sink&& sink) const {
    PackedSteps packed;
    std::int64_t done = prompt_.num_computed_tokens;
    const std::int64_t end = done + prompt_.num_tokens;
    while (done < end) {
      if (packed.num_steps >= give_up.max_steps ||
          packed.makespan_ms(num_stages_) > give_up.makespan_ms) {
        packed.is_complete = false;
        break;
      }
      const Chunk chunk{.num_tokens = std::min(end - done, num_tokens - done % alignment_),
                        .num_computed_tokens = done};
      StepFeatures features;
      features.add(chunk);
      const double step_ms = model_.step_ms(features);
      packed.sum_ms += step_ms;
      packed.max_ms = std::max(packed.max_ms, step_ms);
      ++packed.num_steps;
      done += chunk.num_tokens;
      sink(chunk.num_tokens);
    }
    return packed;
  }

 private:
  const LatencyModel& model_;
  const PromptWork& prompt_;
  std::int64_t num_stages_;
  std::int64_t alignment_;
};

// Equal times are best where steps of equal time exist. Where a history costs more than the
// tokens after it, or the alignment is as coarse as the chunks, they need not: then the best of
// the usual fixed sizes, if it is clearly better.
void prefer_fixed_chunks(const LatencyModel& model, const PromptWork& prompt,
                         std::int64_t num_stages, const ChunkLimits& limits, Plan& plan) {
  const FixedChunks fixed(model, prompt, num_stages, limits.alignment);
  std::int64_t best_tokens = 0;
  double best_ms = kFixedGain * plan.makespan_ms;
  const auto consider = [&](std::int64_t num_tokens) {
    if (num_tokens < std::max<std::int64_t>(1, limits.min_chunk_tokens) ||
        num_tokens > limits.max_chunk_tokens || num_tokens % limits.alignment != 0 ||
        prompt.num_tokens / num_tokens > kMaxFixedSteps) {
      return;
    }
    const PackedSteps packed = fixed.pack(
        num_tokens, {.max_steps = kMaxFixedSteps, .makespan_ms = best_ms}, [](std::int64_t) {});
    if (packed.is_complete && packed.makespan_ms(num_stages) < best_ms) {
      best_ms = packed.makespan_ms(num_stages);
      best_tokens = num_tokens;
    }
  };
  for (std::int64_t power = 1; power <= limits.max_chunk_tokens; power *= 2) {
    consider(power);
    consider(power + power / 2);
  }
  consider(limits.max_chunk_tokens / limits.alignment * limits.alignment);
  if (best_tokens == 0) {
    return;
  }
  plan.chunks.clear();
  const PackedSteps packed =
      fixed.pack(best_tokens, {.max_steps = kMaxFixedSteps},
                 [&plan](std::int64_t num_tokens) { plan.chunks.push_back(num_tokens); });
  plan.target_ms = packed.max_ms;
  plan.makespan_ms = packed.makespan_ms(num_stages);
}

}  // namespace

Plan plan_chunks(const LatencyModel& model, std::int64_t prompt_tokens, std::int64_t num_stages,
                 const ChunkLimits& limits, std::int64_t num_computed_tokens) {
  if (num_computed_tokens < 0 || prompt_tokens <= num_computed_tokens ||
      prompt_tokens > kMaxTokens) {
    throw InvalidArgument(
        "a plan needs 0 <= num_computed_tokens < prompt_tokens <= " + std::to_string(kMaxTokens) +
        ", got num_computed_tokens " + std::to_string(num_computed_tokens) + " and prompt_tokens " +
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
  prefer_fixed_chunks(model, prompt, num_stages, limits, plan);
  return plan;
}

}  // namespace cpp_chunk
