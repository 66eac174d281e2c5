#pragma once

#include "cpp_chunk/chunk_limits.h"

namespace cpp_chunk {

/// \brief The numbers of steps that the limits leave to a backlog, and that trials can afford.
struct StepRange {
  double fewest;
  double most;

  StepRange(double total_tokens, const ChunkLimits& limits);
};

}  // namespace cpp_chunk
