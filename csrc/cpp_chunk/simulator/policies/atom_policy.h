#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cpp_chunk/latency_model.h"
#include "cpp_chunk/policy.h"

namespace cpp_chunk {

/// \brief How AtomPolicy is set; the defaults are ATOM's.
struct AtomSettings {
  double smooth_factor = 0.75;           ///< in [0, 1]
  std::int64_t min_chunk_tokens = 4096;  ///< floor of solved chunks, in [0, kMaxTokens]
  std::int64_t block_tokens = 64;        ///< of the KV cache, in [1, kMaxTokens]
  /// Largest share of a chunk's time that the overhead c + gamma*L may be, in [0, 1]; 1 for no such
  /// floor.
  double max_overhead_share = 0.2;
  /// Steps that a second prompt's presence is remembered for, in [1, 65536].
  std::int64_t num_recent_steps = 4;
};

/// \brief ATOM's dynamic chunks.
///
/// t(L, x) = c + gamma*L + b*x + a*(2*L*x + x^2), all of the model's terms; a chunk solves
/// t(L, x) = t(0, base), or is the base where gamma*L leaves nothing. It is smoothed, not so small
/// that c + gamma*L would be more than a fifth of its time, nor below min_chunk_tokens, never above
/// the base, and rounded down to the KV block or 64 tokens. Only for a prompt that is alone, and
/// has been for some steps: otherwise steps hold base tokens.
/// Source: ROCm/ATOM pull request 2007 and the documents in it, "Dynamic Chunked Pipeline
/// Parallelism" and its guide.
class AtomPolicy final : public ChunkPolicy {
 public:
  /// \param model one stage, every term
  /// \param base_chunk_tokens the engine's max_num_batched_tokens, in [1, kMaxTokens]
  /// \param settings as AtomSettings documents
  /// \throws InvalidArgument
  AtomPolicy(const LatencyModel& model, std::int64_t base_chunk_tokens,
             const AtomSettings& settings = {});

  void set_backlog(std::span<const PromptWork> prompts, std::size_t num_under_way) override;
  void begin_step() override;
  [[nodiscard]] std::int64_t chunk_tokens(const PromptWork& prompt,
                                          std::int64_t max_tokens) override;
  void add_chunk(const Chunk& chunk) override;

 private:
  [[nodiscard]] std::int64_t sized_tokens(std::int64_t num_computed_tokens) const;

  LatencyModel model_;
  std::int64_t base_chunk_tokens_;
  AtomSettings settings_;
  std::int64_t alignment_;
  double target_ms_;  ///< without the constant, which both sides have

  std::size_t num_prompts_ = 0;
  std::int64_t num_sole_steps_;  ///< steps since there was a second prompt
  std::int64_t left_tokens_ = 0;
};

}  // namespace cpp_chunk
