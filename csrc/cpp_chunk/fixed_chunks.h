#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "cpp_chunk/chunk_solver.h"
#include "cpp_chunk/latency_model.h"
#include "cpp_chunk/stages.h"
#include "cpp_chunk/step.h"

namespace cpp_chunk {

/// \brief One prompt in chunks of one size, whatever they cost.
struct FixedChunks {
  std::vector<Chunk> chunks;
  double makespan_ms = 0.0;
};

/// \brief Cuts a prompt into chunks of num_tokens, on the alignment, the last one smaller.
/// \param num_tokens >= alignment, both >= 1
/// \param give_up_ms once the makespan exceeds this, what is there is returned
[[nodiscard]] FixedChunks cut_into_fixed_chunks(
    const Stages& stages, const PromptWork& prompt, std::int64_t num_tokens, std::int64_t alignment,
    double give_up_ms = std::numeric_limits<double>::infinity());

/// \brief The step times of the best power of two, midpoint of two, or cap, as a fixed size.
/// \param model that of the stage which step times are given for
/// \param limit_ms only a makespan below this counts
/// \return empty when there is none
[[nodiscard]] std::vector<double> best_fixed_step_ms(const Stages& stages,
                                                     const LatencyModel& model,
                                                     const PromptWork& prompt,
                                                     const ChunkLimits& limits, double limit_ms);

}  // namespace cpp_chunk
