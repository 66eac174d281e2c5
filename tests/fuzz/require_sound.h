#pragma once

#include <cmath>

#include "cpp_chunk/fit.h"
#include "require.h"

namespace cpp_chunk::fuzz {

/// \brief What every fit that was not refused must be, whatever it was given.
inline void require_sound(const FitReport& report) {
  const Coefficients& cost = report.model.coefficients();
  for (const double value :
       {cost.quadratic, cost.cross, cost.linear, cost.context, cost.constant}) {
    require(std::isfinite(value) && value >= 0.0, "coefficients are finite and >= 0");
  }
  require(report.num_outliers < report.num_points, "not all steps are outliers");
  require(report.mean_relative_error >= 0.0 && report.mean_relative_error <= kMaxMeanRelativeError,
          "a fit that misses its steps is refused");
  require(report.p95_relative_error >= 0.0, "the error's percentile is a number");
  require(report.condition_number >= 0.0 && report.condition_number <= kMaxConditionNumber,
          "an ill-conditioned fit is refused");
}

}  // namespace cpp_chunk::fuzz
