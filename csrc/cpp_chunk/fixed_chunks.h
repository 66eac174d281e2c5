#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "cpp_chunk/chunk_solver.h"
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

/// \brief The usual fixed sizes that limits allow: powers of two, midpoints of two, and the cap.
/// \param num_tokens of the prompt: sizes that would need very many steps are left out
[[nodiscard]] std::vector<std::int64_t> usual_fixed_sizes(const ChunkLimits& limits,
                                                          std::int64_t num_tokens);

}  // namespace cpp_chunk
