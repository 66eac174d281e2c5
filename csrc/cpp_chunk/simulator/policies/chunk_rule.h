#pragma once

#include <algorithm>
#include <cstdint>

#include "cpp_chunk/latency_model.h"
#include "cpp_chunk/step.h"

namespace cpp_chunk {

/// \brief The least alignment of the published rules: they round to the KV page or to this.
inline constexpr std::int64_t kRuleAlignmentTokens = 64;

/// \brief A stage as rules see it that measure prefills without history only:
/// f(l) = a l^2 + b l + c. They expect f(h + x) - f(h) of a chunk, which is this model's chunks_ms.
[[nodiscard]] inline LatencyModel history_free_model(const LatencyModel& model) {
  const Coefficients& cost = model.coefficients();
  return LatencyModel({.quadratic = cost.quadratic,
                       .cross = cost.quadratic,
                       .linear = cost.linear,
                       .constant = cost.constant});
}

/// \brief The time of one chunk without the step's constant.
[[nodiscard]] inline double chunk_ms(const LatencyModel& model, std::int64_t num_tokens,
                                     std::int64_t num_computed_tokens) {
  StepFeatures features;
  features.add({.num_tokens = num_tokens, .num_computed_tokens = num_computed_tokens});
  return model.chunks_ms(features);
}

/// \brief base + smooth_factor * (solved - base), in whole tokens.
/// \param solved_tokens not negative; may be infinite
[[nodiscard]] inline std::int64_t smoothed_tokens(std::int64_t base_tokens, double solved_tokens,
                                                  double smooth_factor) {
  const auto base = static_cast<double>(base_tokens);
  const double solved = std::min(solved_tokens, static_cast<double>(kMaxTokens));
  return static_cast<std::int64_t>(base + smooth_factor * (solved - base));
}

/// \brief A multiple of the alignment, not above the tokens; the alignment itself at least.
[[nodiscard]] constexpr std::int64_t rounded_down(std::int64_t num_tokens,
                                                  std::int64_t alignment) noexcept {
  return std::max(alignment, num_tokens / alignment * alignment);
}

/// \brief A multiple of the alignment, not below the tokens.
[[nodiscard]] constexpr std::int64_t rounded_up(std::int64_t num_tokens,
                                                std::int64_t alignment) noexcept {
  return (num_tokens + alignment - 1) / alignment * alignment;
}

}  // namespace cpp_chunk
