#include "cpp_chunk/robust.h"

#include <algorithm>

namespace cpp_chunk {
namespace {

// As many standard deviations off, a step gets no weight. Tukey's constant: where noise is normal,
// the bisquare is then 95 % as efficient as least squares.
constexpr double kTukey = 4.685;
// Turns the median absolute deviation of normal noise into its standard deviation.
constexpr double kMadToSigma = 1.4826;
// Relative noise that is always granted: half of the steps may be hit exactly, and the others would
// all be outliers.
constexpr double kLeastSigma = 0.02;

}  // namespace

double robust_sigma(double median_absolute_log_ratio) noexcept {
  return std::max(kMadToSigma * median_absolute_log_ratio, kLeastSigma);
}

double bisquare_weight(double log_ratio, double sigma) noexcept {
  const double ratio = log_ratio / (kTukey * sigma);
  const double slack = std::max(0.0, 1.0 - ratio * ratio);
  return slack * slack;
}

}  // namespace cpp_chunk
