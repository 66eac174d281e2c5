#include "cpp_chunk/target.h"

#include <algorithm>
#include <limits>

#include "cpp_chunk/backlog_flow.h"
#include "cpp_chunk/check.h"
#include "cpp_chunk/equal_step_trials.h"
#include "cpp_chunk/fixed_size_trials.h"
#include "cpp_chunk/ramp.h"
#include "cpp_chunk/step_range.h"
#include "cpp_chunk/trials.h"

namespace cpp_chunk {
namespace {

// Times from those of a ramp on, since its row should just hold the work.
constexpr int kRampPoints = 8;
constexpr double kRampSpacing = 0.01;

// The time of a step that only the cap ends, at the most: as many tokens as the cap allows, all
// priced behind the deepest history, and the history of every prompt besides.
double cap_target_ms(const LatencyModel& model, std::span<const PromptWork> prompts,
                     const ChunkLimits& limits) {
  StepFeatures features;
  double deepest = 0.0;
  for (const PromptWork& prompt : prompts) {
    const auto history = static_cast<double>(prompt.num_computed_tokens + prompt.num_tokens);
    deepest = std::max(deepest, history);
    features.context_sum += history;
    features.token_sum += static_cast<double>(prompt.num_tokens);
  }
  features.token_sum = std::min(features.token_sum, static_cast<double>(limits.max_chunk_tokens));
  features.half_square_sum = 0.5 * features.token_sum * features.token_sum;
  features.cross_sum = features.token_sum * deepest;
  return std::min(
      {model.step_ms(features), limits.max_step_ms, std::numeric_limits<double>::max()});
}

}  // namespace

StepTargets best_step_targets(const Stages& stages, std::span<const PromptWork> prompts,
                              const ChunkLimits& limits) {
  check_prompts(prompts);
  const BacklogFlow flow(stages, prompts);
  const LatencyModel& model = stages[flow.slowest_stage()];
  const double cap_ms = cap_target_ms(model, prompts, limits);
  const StepRange range(flow.total_tokens(), limits);
  Trials trials(stages, flow.slowest_stage(), prompts, limits, cap_ms, range.fewest);
  try_equal_steps(flow, range, cap_ms, trials);
  if (!stages.are_equal() && !trials.is_sampled()) {
    const Ramp ramp(flow);
    trials.run_row(ramp.best_step_ms(range.fewest, range.most), kRampPoints, kRampSpacing);
  }
  if (prompts.size() > 1) {
    trials.run_full_steps();
  }
  if (trials.is_sampled()) {
    trials.recheck();
  }
  if (prompts.size() == 1 && !trials.is_sampled()) {
    try_fixed_sizes(stages, model, prompts.front(), limits, trials);
  }
  return trials.best();
}

double best_target_ms(const Stages& stages, std::span<const PromptWork> prompts,
                      const ChunkLimits& limits) {
  return best_step_targets(stages, prompts, limits).longest_ms();
}

std::size_t slowest_stage(const Stages& stages, std::span<const PromptWork> prompts) {
  check_prompts(prompts);
  return BacklogFlow(stages, prompts).slowest_stage();
}

double base_target_ms(const LatencyModel& model, std::int64_t base_chunk_tokens) {
  check_count("base_chunk_tokens", base_chunk_tokens, 1);
  return model.step_ms(StepFeatures::of(Chunk{.num_tokens = base_chunk_tokens}));
}

}  // namespace cpp_chunk
