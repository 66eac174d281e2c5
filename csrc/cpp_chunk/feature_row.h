#pragma once

#include <array>

#include "cpp_chunk/latency_model.h"
#include "cpp_chunk/step.h"

namespace cpp_chunk {

/// \brief What each coefficient multiplies, in the order of kCoefficientNames.
using FeatureRow = std::array<double, kNumCoefficients>;

/// \brief A step as one row of a least-squares problem in the coefficients.
[[nodiscard]] constexpr FeatureRow feature_row(const StepFeatures& features) noexcept {
  return {features.half_square_sum, features.cross_sum, features.token_sum, features.context_sum,
          1.0};
}

/// \brief The coefficients that a row's columns belong to.
[[nodiscard]] constexpr Coefficients coefficients_of(const FeatureRow& values) noexcept {
  return {.quadratic = values[0],
          .cross = values[1],
          .linear = values[2],
          .context = values[3],
          .constant = values[4]};
}

}  // namespace cpp_chunk
