#pragma once

#include <algorithm>

namespace cpp_chunk {

/// \brief Beyond so many standard deviations a step gets no weight: Tukey's constant, with which
/// the bisquare is 95 % as efficient as least squares where the noise is normal.
inline constexpr double kTukey = 4.685;

/// \brief Turns the median absolute deviation of normal noise into its standard deviation.
inline constexpr double kMadToSigma = 1.4826;

/// \brief Relative noise that is always granted before a step can count as an outlier: steps that
/// a model happens to hit exactly would else make outliers of all others.
inline constexpr double kLeastSigma = 0.02;

/// \brief Standard deviation of the inliers' log ratios, from the median of their sizes.
[[nodiscard]] constexpr double robust_sigma(double median_absolute_log_ratio) noexcept {
  return std::max(kMadToSigma * median_absolute_log_ratio, kLeastSigma);
}

/// \brief Tukey's bisquare: 1 for a step as predicted, 0 for an outlier.
[[nodiscard]] constexpr double bisquare_weight(double log_ratio, double sigma) noexcept {
  const double ratio = log_ratio / (kTukey * sigma);
  const double slack = std::max(0.0, 1.0 - ratio * ratio);
  return slack * slack;
}

}  // namespace cpp_chunk
