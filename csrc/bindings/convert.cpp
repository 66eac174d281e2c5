#include <string>
#include <utility>

#include "bindings/bindings.h"
#include "cpp_chunk/error.h"

namespace cpp_chunk::bindings {

std::vector<Chunk> to_chunks(const std::vector<TokenPair>& pairs) {
  std::vector<Chunk> chunks;
  chunks.reserve(pairs.size());
  for (const auto& [num_tokens, num_computed_tokens] : pairs) {
    chunks.push_back({.num_tokens = num_tokens, .num_computed_tokens = num_computed_tokens});
  }
  return chunks;
}

std::vector<MeasuredStep> to_measured_steps(const std::vector<Sample>& samples) {
  std::vector<MeasuredStep> steps;
  steps.reserve(samples.size());
  for (const auto& [pairs, latency_ms] : samples) {
    MeasuredStep step{.features = {}, .latency_ms = latency_ms};
    for (const Chunk& chunk : to_chunks(pairs)) {
      if (!is_valid(chunk)) {
        const std::string got = "num_tokens " + std::to_string(chunk.num_tokens) +
                                ", num_computed_tokens " +
                                std::to_string(chunk.num_computed_tokens);
        throw InvalidArgument({.field = "samples", .value = got},
                              "sample " + std::to_string(steps.size()) +
                                  " has a chunk with token counts outside [0, " +
                                  std::to_string(kMaxTokens) + "]: " + got);
      }
      step.features.add(chunk);
    }
    steps.push_back(step);
  }
  return steps;
}

ChunkLimits to_limits(std::int64_t max_chunk_tokens, std::int64_t min_chunk_tokens,
                      std::int64_t alignment, std::vector<std::int64_t> preferred_multiples,
                      double max_step_ms) {
  return {.max_chunk_tokens = max_chunk_tokens,
          .min_chunk_tokens = min_chunk_tokens,
          .alignment = alignment,
          .preferred_multiples = std::move(preferred_multiples),
          .max_step_ms = max_step_ms};
}

std::vector<PromptWork> to_prompts(const std::vector<TokenPair>& pairs) {
  std::vector<PromptWork> prompts;
  prompts.reserve(pairs.size());
  for (const auto& [num_tokens, num_computed_tokens] : pairs) {
    prompts.push_back({.num_tokens = num_tokens, .num_computed_tokens = num_computed_tokens});
  }
  return prompts;
}

}  // namespace cpp_chunk::bindings
