#include "cpp_chunk/drift.h"

#include <algorithm>
#include <cmath>

namespace cpp_chunk {
namespace {

// So many must be off to the same side: by chance 1 time in 25.
constexpr std::ptrdiff_t kFewestOnOneSide = 10;
// A smaller drift may be the model's error for the steps that run just now. It needs no more than
// the greater weight of recent steps.
constexpr double kLeastDrift = 0.08;
// A median within so many times the model's mean error may be that error.
constexpr double kNoiseShare = 1.5;

}  // namespace

std::optional<double> drift_factor(std::array<double, kDriftSteps> log_ratios, double noise) {
  std::ranges::sort(log_ratios);
  const double median = 0.5 * (log_ratios[kDriftSteps / 2 - 1] + log_ratios[kDriftSteps / 2]);
  const auto num_on_its_side =
      std::ranges::count_if(log_ratios, [median](double value) { return value * median > 0.0; });
  if (std::abs(median) < std::max(kLeastDrift, kNoiseShare * noise) ||
      num_on_its_side < kFewestOnOneSide) {
    return std::nullopt;
  }
  return std::exp(median);
}

}  // namespace cpp_chunk
