#pragma once

#include <cstdint>
#include <vector>

#include "cpp_chunk/chunk_solver.h"
#include "cpp_chunk/stages.h"

namespace cpp_chunk {

/// \brief How one prompt goes through the pipeline when nothing else does.
struct Plan {
  std::vector<std::int64_t> chunks;  ///< tokens of each step, in order
  /// Times to aim at on the slowest stage, constant included: one for all steps, or a row.
  std::vector<double> step_targets_ms;
  double makespan_ms = 0.0;  ///< until the last step leaves the last stage
};

/// \brief Plans one prompt: best_step_targets, then the chunks that serving would choose for it.
/// \param prompt_tokens the whole prompt; the chunks sum to what num_computed_tokens leaves of it
/// \param limits of every chunk
/// \param num_computed_tokens prefix of the prompt that is already computed, < prompt_tokens
/// \throws InvalidArgument
[[nodiscard]] Plan plan_chunks(const Stages& stages, std::int64_t prompt_tokens,
                               const ChunkLimits& limits, std::int64_t num_computed_tokens = 0);

/// \brief The same prompt in chunks of one size, the last one smaller.
///
/// step_targets_ms are then the times that the chunks take.
/// \param chunk_tokens in [1, kMaxTokens]
/// \throws InvalidArgument
[[nodiscard]] Plan plan_fixed_chunks(const Stages& stages, std::int64_t prompt_tokens,
                                     std::int64_t chunk_tokens,
                                     std::int64_t num_computed_tokens = 0);

}  // namespace cpp_chunk
