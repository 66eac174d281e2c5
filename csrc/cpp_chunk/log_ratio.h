#pragma once

#include <algorithm>
#include <cmath>

#include "cpp_chunk/latency_model.h"
#include "cpp_chunk/step.h"

namespace cpp_chunk {

/// \brief Most that a prediction counts as off. A prediction of 0 has no finite logarithm, and one
/// that is wrong by this factor is as useless as any that is worse.
inline constexpr double kFarthestRatio = 1e9;

/// \brief The logarithm of a step's predicted over its measured time; finite, 0 where both are the
/// same.
[[nodiscard]] inline double log_ratio(const LatencyModel& model, const MeasuredStep& step) {
  const double ratio = model.step_ms(step.features) / step.latency_ms;
  return std::log(std::clamp(ratio, 1.0 / kFarthestRatio, kFarthestRatio));
}

}  // namespace cpp_chunk
