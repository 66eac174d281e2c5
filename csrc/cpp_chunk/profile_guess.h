#pragma once

#include <span>

#include "cpp_chunk/latency_model.h"
#include "cpp_chunk/step.h"

namespace cpp_chunk {

/// \brief One pass as it ran: one chunk, and what the slowest stage took.
struct MeasuredPass {
  Chunk chunk;
  double latency_ms = 0.0;
};

/// \brief A model near what was measured, and near a nominal one where nothing was.
///
/// Absolute errors count, not squares: so one bad pass does not choose all that follow.
/// \param measured at least one pass, latencies finite and > 0
/// \return a model that gives every pass a time > 0
[[nodiscard]] LatencyModel guess_model(std::span<const MeasuredPass> measured);

}  // namespace cpp_chunk
