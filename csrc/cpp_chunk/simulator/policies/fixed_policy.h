#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cpp_chunk/policy.h"

namespace cpp_chunk {

/// \brief Chunks of one size: what vLLM does with max_num_batched_tokens set to it.
///
/// A step's tokens, decodes included, share the size, first come first served.
class FixedPolicy final : public ChunkPolicy {
 public:
  /// \param chunk_tokens tokens of a step, in [1, kMaxTokens]
  /// \throws InvalidArgument
  explicit FixedPolicy(std::int64_t chunk_tokens);

  void set_backlog(std::span<const PromptWork> prompts, std::size_t num_under_way) override;
  void begin_step() override;
  [[nodiscard]] std::int64_t chunk_tokens(const PromptWork& prompt,
                                          std::int64_t max_tokens) override;
  void add_chunk(const Chunk& chunk) override;

 private:
  std::int64_t chunk_tokens_;
  std::int64_t left_tokens_ = 0;
};

}  // namespace cpp_chunk
