#include "cpp_chunk/simulator/policies/atom_policy.h"

#include <algorithm>

#include "cpp_chunk/check.h"
#include "cpp_chunk/simulator/policies/chunk_rule.h"
#include "cpp_chunk/stages.h"

namespace cpp_chunk {

AtomPolicy::AtomPolicy(const LatencyModel& model, std::int64_t base_chunk_tokens,
                       const AtomSettings& settings)
    : model_(model),
      base_chunk_tokens_(base_chunk_tokens),
      settings_(settings),
      alignment_(std::max(settings.block_tokens, kRuleAlignmentTokens)),
      target_ms_(chunk_ms(model, base_chunk_tokens, 0)),
      num_sole_steps_(settings.num_recent_steps) {
  check_count("base_chunk_tokens", base_chunk_tokens, 1);
  check_number("smooth_factor", settings.smooth_factor, 1.0);
  check_count("min_chunk_tokens", settings.min_chunk_tokens, 0);
  check_count("block_tokens", settings.block_tokens, 1);
  check_number("max_overhead_share", settings.max_overhead_share, 1.0);
  check_count("num_recent_steps", settings.num_recent_steps, 1, kMaxStages);
}

void AtomPolicy::set_backlog(std::span<const PromptWork> prompts, std::size_t /*num_under_way*/) {
  num_prompts_ = prompts.size();
}

void AtomPolicy::begin_step() {
  num_sole_steps_ =
      num_prompts_ > 1 ? 0 : std::min(num_sole_steps_ + 1, settings_.num_recent_steps);
  left_tokens_ = base_chunk_tokens_;
}

std::int64_t AtomPolicy::sized_tokens(std::int64_t num_computed_tokens) const {
  const auto history = static_cast<double>(num_computed_tokens);
  const double context_ms = model_.coefficients().context * history;
  if (context_ms >= target_ms_) {
    return base_chunk_tokens_;
  }
  const std::int64_t smoothed = smoothed_tokens(
      base_chunk_tokens_, model_.tokens_within(target_ms_, history), settings_.smooth_factor);
  // overhead <= share * (overhead + work): the work that the overhead asks for.
  const double share = settings_.max_overhead_share;
  const double work_ms = (model_.coefficients().constant + context_ms) * (1.0 - share) / share;
  const double floor_tokens =
      share < 1.0 ? model_.tokens_within(work_ms + context_ms, history) : 0.0;
  const auto overhead_floor =
      static_cast<std::int64_t>(std::min(floor_tokens, static_cast<double>(base_chunk_tokens_)));
  const std::int64_t floored = std::max({smoothed, settings_.min_chunk_tokens, overhead_floor});
  return rounded_down(std::min(floored, base_chunk_tokens_), alignment_);
}

std::int64_t AtomPolicy::chunk_tokens(const PromptWork& prompt, std::int64_t max_tokens) {
  const bool is_sole = num_sole_steps_ >= settings_.num_recent_steps;
  const std::int64_t sized =
      is_sole ? sized_tokens(prompt.num_computed_tokens) : base_chunk_tokens_;
  return std::clamp<std::int64_t>(std::min(sized, left_tokens_), 0,
                                  std::min(prompt.num_tokens, max_tokens));
}

void AtomPolicy::add_chunk(const Chunk& chunk) { left_tokens_ -= chunk.num_tokens; }

}  // namespace cpp_chunk
