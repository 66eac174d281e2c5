#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cpp_chunk/latency_model.h"
#include "cpp_chunk/policy.h"

namespace cpp_chunk {

/// \brief SGLang's dynamic chunking.
///
/// A step has as many prefill tokens as its first prefill may take, x with f(h + x) - f(h) =
/// f(base) - f(0), where f(l) = a l^2 + b l + c is fitted to prefills without history; smoothed
/// towards the base, not below a quarter of it, rounded down to the page or 64 tokens. The step's
/// other prefills share what the first leaves.
/// Source: SGLang's documentation, "Pipeline Parallelism for Long Context", and its pull requests
/// 15372 (the rule), 16140 (the floor), 23621 and 37674; issue 20018 (a step's budget).
class SglangPolicy final : public ChunkPolicy {
 public:
  /// \param model one stage; the rule sees its quadratic, linear and constant terms
  /// \param base_chunk_tokens the engine's chunked_prefill_size, in [1, kMaxTokens]
  /// \param smooth_factor in [0, 1]: 0 is fixed chunks, 1 the solved ones
  /// \param page_tokens of the KV cache, in [1, kMaxTokens]
  /// \throws InvalidArgument
  SglangPolicy(const LatencyModel& model, std::int64_t base_chunk_tokens,
               double smooth_factor = 0.75, std::int64_t page_tokens = 64);

  void set_backlog(std::span<const PromptWork> prompts, std::size_t num_under_way) override;
  void begin_step() override;
  [[nodiscard]] std::int64_t chunk_tokens(const PromptWork& prompt,
                                          std::int64_t max_tokens) override;
  void add_chunk(const Chunk& chunk) override;

 private:
  [[nodiscard]] std::int64_t step_tokens(std::int64_t num_computed_tokens) const;

  LatencyModel model_;
  std::int64_t base_chunk_tokens_;
  double smooth_factor_;
  std::int64_t alignment_;
  double target_ms_;

  std::int64_t asked_computed_tokens_ = 0;  ///< history of the prefill asked about last
  bool is_asked_ = false;                   ///< the chunk added next is that prefill
  std::int64_t left_tokens_ = -1;           ///< of the step; negative until its first prefill
};

}  // namespace cpp_chunk
