#pragma once

#include <cstdint>
#include <vector>

#include "cpp_chunk/chunk_solver.h"
#include "cpp_chunk/latency_model.h"

namespace cpp_chunk {

/// \brief How one prompt goes through the pipeline when nothing else does.
struct Plan {
  std::vector<std::int64_t> chunks;  ///< tokens of each step, in order
  double target_ms = 0.0;            ///< step time aimed at, the constant included
  double makespan_ms = 0.0;          ///< until the last step leaves the last stage
};

/// \brief Plans one prompt: best_target_ms, then the chunks that serving would choose for it.
///
/// Where no steps of equal time exist (a history dearer than the tokens after it, an alignment as
/// coarse as the chunks), the best power of two or midpoint as a fixed size, if that is clearly
/// better; target_ms is then the longest step.
/// \param prompt_tokens the whole prompt; the chunks sum to what num_computed_tokens leaves of it
/// \param num_stages pipeline stages, >= 1
/// \param limits of every chunk
/// \param num_computed_tokens prefix of the prompt that is already computed, < prompt_tokens
/// \throws InvalidArgument
[[nodiscard]] Plan plan_chunks(const LatencyModel& model, std::int64_t prompt_tokens,
                               std::int64_t num_stages, const ChunkLimits& limits,
                               std::int64_t num_computed_tokens = 0);

}  // namespace cpp_chunk
