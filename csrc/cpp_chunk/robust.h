#pragma once

namespace cpp_chunk {

/// \brief Standard deviation of the inliers' log ratios, from the median of their sizes.
[[nodiscard]] double robust_sigma(double median_absolute_log_ratio) noexcept;

/// \brief Tukey's bisquare: 1 for a step as predicted, 0 for an outlier.
[[nodiscard]] double bisquare_weight(double log_ratio, double sigma) noexcept;

}  // namespace cpp_chunk
