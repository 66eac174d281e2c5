#include "cpp_chunk/simulator/policies/sglang_policy.h"

#include <algorithm>

#include "cpp_chunk/check.h"
#include "cpp_chunk/simulator/policies/chunk_rule.h"

namespace cpp_chunk {
namespace {

// Of the base chunk: no dynamic one is smaller.
constexpr std::int64_t kFloorDivisor = 4;

}  // namespace

SglangPolicy::SglangPolicy(const LatencyModel& model, std::int64_t base_chunk_tokens,
                           double smooth_factor, std::int64_t page_tokens)
    : model_(history_free_model(model)),
      base_chunk_tokens_(base_chunk_tokens),
      smooth_factor_(smooth_factor),
      alignment_(std::max(page_tokens, kRuleAlignmentTokens)),
      target_ms_(chunk_ms(model_, base_chunk_tokens, 0)) {
  check_count("base_chunk_tokens", base_chunk_tokens, 1);
  check_number("smooth_factor", smooth_factor, 1.0);
  check_count("page_tokens", page_tokens, 1);
}

void SglangPolicy::set_backlog(std::span<const PromptWork> /*prompts*/,
                               std::size_t /*num_under_way*/) {}

void SglangPolicy::begin_step() { left_tokens_ = -1; }

std::int64_t SglangPolicy::step_tokens(std::int64_t num_computed_tokens) const {
  const double solved_tokens =
      model_.tokens_within(target_ms_, static_cast<double>(num_computed_tokens));
  const std::int64_t smoothed = smoothed_tokens(base_chunk_tokens_, solved_tokens, smooth_factor_);
  // A model without attention prices nothing that grows: the chunk would be the base.
  const std::int64_t bounded =
      std::clamp(smoothed, base_chunk_tokens_ / kFloorDivisor, base_chunk_tokens_);
  return rounded_down(bounded, alignment_);
}

std::int64_t SglangPolicy::chunk_tokens(const PromptWork& prompt, std::int64_t max_tokens) {
  asked_computed_tokens_ = prompt.num_computed_tokens;
  const std::int64_t left_tokens =
      left_tokens_ < 0 ? step_tokens(prompt.num_computed_tokens) : left_tokens_;
  const std::int64_t num_tokens = std::min({prompt.num_tokens, max_tokens, left_tokens});
  is_asked_ = num_tokens > 0;
  return num_tokens;
}

void SglangPolicy::add_chunk(const Chunk& chunk) {
  if (!is_asked_) {
    return;  // a decode: SGLang's prefill steps do not hold them
  }
  is_asked_ = false;
  if (left_tokens_ < 0) {
    left_tokens_ = step_tokens(asked_computed_tokens_);
  }
  left_tokens_ = std::max<std::int64_t>(0, left_tokens_ - chunk.num_tokens);
}

}  // namespace cpp_chunk
