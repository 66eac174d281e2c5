#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cpp_chunk/simulator/distribution.h"

namespace cpp_chunk {

/// \brief When a request came and what it got; in ms from the start of the simulation.
struct RequestTimes {
  double arrival_ms = 0.0;      ///< when it entered: in a closed loop, when a place was free for it
  double first_token_ms = 0.0;  ///< when the step with its last prefill chunk left the last stage
  double end_ms = 0.0;          ///< when its last token did
};

/// \brief When a step occupied a stage, the engine's gap included and the transfer left out.
struct StageSpan {
  double start_ms = 0.0;
  double end_ms = 0.0;
};

/// \brief What one request had in a step.
struct StepChunk {
  std::size_t request_index = 0;
  std::int64_t num_tokens = 0;
  std::int64_t num_computed_tokens = 0;
};

/// \brief One step, for the trace.
struct SimulatedStep {
  std::vector<StageSpan> stage_spans_ms;  ///< one a stage
  std::vector<StepChunk> chunks;
};

/// \brief What came of a simulated workload.
struct SimulationResult {
  double makespan_ms = 0.0;  ///< from the first arrival to the last token
  std::int64_t num_steps = 0;
  Distribution ttft_ms;              ///< one value a request: first_token_ms - arrival_ms
  Distribution inter_token_ms;       ///< one value for each token after a request's first
  double prompt_tokens_per_s = 0.0;  ///< computed ones: prefix hits are left out
  double output_tokens_per_s = 0.0;
  /// Of each stage: 1 - busy/(last end - first start). A stage that waits for its transfer is idle.
  std::vector<double> bubble_share;
  std::vector<RequestTimes> requests;  ///< in the order given
  std::vector<SimulatedStep> steps;    ///< only when recorded
};

}  // namespace cpp_chunk
