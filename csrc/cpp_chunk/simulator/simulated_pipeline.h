#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "cpp_chunk/latency_model.h"

namespace cpp_chunk {

/// \brief An engine with pipeline parallelism, as the simulator sees it.
struct SimulatedPipeline {
  std::vector<LatencyModel> stages;         ///< one a stage, in order; not empty
  std::int64_t max_num_batched_tokens = 0;  ///< tokens that a step may hold; >= 1
  std::int64_t max_num_seqs = 256;          ///< requests under way at once; >= 1
  double gap_ms = 0.0;                      ///< the engine's cost of every step on every stage
  double transfer_ms = 0.0;                 ///< from one stage to the next, for every step
  double transfer_ms_per_token = 0.0;       ///< and for every token in it
  /// Whether a stage is free while it sends. If not, it stays occupied until the step has arrived.
  /// A link carries one step at a time either way.
  bool transfer_overlaps = true;
  /// Steps scheduled that have not left the last stage; by default as many as stages (vLLM's
  /// batch queue).
  std::optional<std::int64_t> max_in_flight = std::nullopt;
  /// Requests inside at once, for a closed loop: the next enters when its arrival time has come
  /// and a place is free. By default, all enter when they arrive.
  std::optional<std::int64_t> max_concurrency = std::nullopt;

  /// \throws InvalidArgument for anything outside of what stands above
  void check() const;

  [[nodiscard]] std::int64_t in_flight_limit() const {
    return max_in_flight.value_or(static_cast<std::int64_t>(stages.size()));
  }
};

}  // namespace cpp_chunk
