#pragma once

#include <cstdint>

#include "cpp_chunk/latency_model.h"
#include "cpp_chunk/step.h"

namespace cpp_chunk {

/// \brief Work of prompts or chunks that no cut changes, counted in tokens: it is priced when it is
/// read, so that it stays right when the models, or the slowest stage, change.
///
/// A prompt's is that of its chunks together: x*(h + x/2) telescopes.
struct UncutWork {
  std::int64_t num_tokens = 0;
  double attended_tokens = 0.0;  ///< sum of x*(h + x/2), tokens^2

  [[nodiscard]] static constexpr UncutWork of(std::int64_t num_tokens,
                                              std::int64_t num_computed_tokens) noexcept {
    const auto tokens = static_cast<double>(num_tokens);
    return {.num_tokens = num_tokens,
            .attended_tokens = tokens * (static_cast<double>(num_computed_tokens) + 0.5 * tokens)};
  }

  /// \brief What it takes on a stage in ms, without the steps' constants and repeated history.
  [[nodiscard]] constexpr double ms(const Coefficients& cost) const noexcept {
    return cost.cross * attended_tokens + cost.linear * static_cast<double>(num_tokens);
  }

  constexpr UncutWork& operator+=(const UncutWork& other) noexcept {
    num_tokens += other.num_tokens;
    attended_tokens += other.attended_tokens;
    return *this;
  }
  constexpr UncutWork& operator-=(const UncutWork& other) noexcept {
    num_tokens -= other.num_tokens;
    attended_tokens -= other.attended_tokens;
    return *this;
  }
  friend constexpr UncutWork operator+(UncutWork left, const UncutWork& right) noexcept {
    return left += right;
  }
  friend constexpr UncutWork operator-(UncutWork left, const UncutWork& right) noexcept {
    return left -= right;
  }
};

}  // namespace cpp_chunk
