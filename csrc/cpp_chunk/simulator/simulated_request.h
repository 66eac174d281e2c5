#pragma once

#include <cstdint>

namespace cpp_chunk {

/// \brief One request of a simulated workload.
struct SimulatedRequest {
  std::int64_t prompt_tokens = 0;  ///< >= 1
  double arrival_ms = 0.0;         ///< when it is sent; finite and >= 0
  std::int64_t output_tokens = 1;  ///< the first comes from the prefill; >= 1
  /// Prefix of the prompt that the cache holds, in [0, prompt_tokens]. One token at least is
  /// always computed.
  std::int64_t cached_tokens = 0;
};

}  // namespace cpp_chunk
