#pragma once

#include <array>
#include <cstddef>

#include "cpp_chunk/latency_model.h"

namespace cpp_chunk {

/// \brief Largest condition number of the scaled columns; beyond it coefficients are noise.
inline constexpr double kMaxConditionNumber = 1e8;

/// \brief Largest mean relative error of the inliers; beyond it the form does not describe the
/// device, and equal predicted times would not be equal times.
inline constexpr double kMaxMeanRelativeError = 0.30;

/// \brief A fitted model and how far it can be trusted.
struct FitReport {
  LatencyModel model;
  std::size_t num_points = 0;        ///< steps given, outliers included
  std::size_t num_outliers = 0;      ///< steps that got no weight
  double condition_number = 0.0;     ///< of the scaled columns, inliers only
  double mean_relative_error = 0.0;  ///< |predicted/measured - 1|, weighted by inlierness
  double p95_relative_error = 0.0;   ///< 95th percentile over the inliers
  std::array<bool, kNumCoefficients> at_bound{};  ///< coefficients that ended at 0
};

}  // namespace cpp_chunk
