#include "cpp_chunk/simulator/policies/fixed_policy.h"

#include <algorithm>

#include "cpp_chunk/check.h"

namespace cpp_chunk {

FixedPolicy::FixedPolicy(std::int64_t chunk_tokens) : chunk_tokens_(chunk_tokens) {
  check_count("chunk_tokens", chunk_tokens, 1);
}

void FixedPolicy::set_backlog(std::span<const PromptWork> /*prompts*/,
                              std::size_t /*num_under_way*/) {}

void FixedPolicy::begin_step() { left_tokens_ = chunk_tokens_; }

std::int64_t FixedPolicy::chunk_tokens(const PromptWork& prompt, std::int64_t max_tokens) {
  return std::clamp<std::int64_t>(left_tokens_, 0, std::min(prompt.num_tokens, max_tokens));
}

void FixedPolicy::add_chunk(const Chunk& chunk) { left_tokens_ -= chunk.num_tokens; }

}  // namespace cpp_chunk
