#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "cpp_chunk/latency_model.h"
#include "cpp_chunk/step.h"

namespace cpp_chunk {

/// \brief Fewest measured steps a fit accepts: five unknowns, and enough to outvote an outlier.
inline constexpr std::size_t kMinFitPoints = 8;

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

/// \brief Memory of a fit, sized once, so that refitting while serving allocates nothing.
class FitWorkspace {
 public:
  /// \param capacity most measured steps that one fit will get
  explicit FitWorkspace(std::size_t capacity);

  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

 private:
  friend class Fitter;
  friend std::vector<MeasuredStep> inliers_of(std::span<const MeasuredStep> steps,
                                              const FitWorkspace& workspace);

  std::size_t capacity_;
  std::vector<std::array<double, kNumCoefficients>> rows_;
  std::vector<double> predicted_ms_;
  std::vector<double> best_predicted_ms_;
  std::vector<double> weights_;
  std::vector<double> sorted_;
};

/// \brief Non-negative, relative-error, outlier-robust least squares for the latency model.
/// \param steps measured steps: latency_ms finite and > 0, at least one token each
/// \param workspace with room for all of them
/// \throws InvalidArgument for an unusable step, FitRefused when the steps do not carry a model
[[nodiscard]] FitReport fit_latency_model(std::span<const MeasuredStep> steps,
                                          FitWorkspace& workspace);

/// \brief As above with a workspace of its own.
[[nodiscard]] FitReport fit_latency_model(std::span<const MeasuredStep> steps);

/// \brief Of the steps that the workspace's last fit was given, those that got a weight in it.
[[nodiscard]] std::vector<MeasuredStep> inliers_of(std::span<const MeasuredStep> steps,
                                                   const FitWorkspace& workspace);

/// \brief Whether a measured step can go into a fit.
[[nodiscard]] bool is_usable(const MeasuredStep& step) noexcept;

}  // namespace cpp_chunk
