#pragma once

#include "cpp_chunk/chunk_limits.h"

namespace cpp_chunk {

/// \brief From the fewest steps that the cap leaves to a backlog to the most that trials can
/// afford.
struct StepRange {
  double fewest;
  double most;

  StepRange(double total_tokens, const ChunkLimits& limits);
};

}  // namespace cpp_chunk
