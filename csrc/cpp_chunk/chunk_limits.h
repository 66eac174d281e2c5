#pragma once

#include <cstdint>
#include <limits>
#include <vector>

namespace cpp_chunk {

/// \brief What a platform and an engine demand of every chunk.
struct ChunkLimits {
  std::int64_t max_chunk_tokens = 0;  ///< cap, the engine's token budget of a step; >= 1
  std::int64_t min_chunk_tokens = 1;  ///< floor for the first chunk of a step; in [0, cap]
  std::int64_t alignment = 1;         ///< chunks end on multiples of it; in [1, cap]
  /// Token counts that kernels like (a MoE tile, tensor parallelism with sequence parallelism,
  /// twice the prefill context parallel ranks): a chunk is a multiple of as many of them, from
  /// the front, as are small beside it. Each >= 1.
  // Without the initializer GCC warns of designated ones that leave it out.
  // NOLINTNEXTLINE(readability-redundant-member-init)
  std::vector<std::int64_t> preferred_multiples = {};
  /// No chunk makes a step of any stage longer than this, but for one alignment step of tokens
  /// where a prompt would not move on otherwise; > 0.
  double max_step_ms = std::numeric_limits<double>::infinity();

  /// \throws InvalidArgument when they contradict each other
  void check() const;
};

}  // namespace cpp_chunk
