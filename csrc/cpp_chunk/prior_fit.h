#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "cpp_chunk/fit_report.h"
#include "cpp_chunk/latency_model.h"
#include "cpp_chunk/step.h"

namespace cpp_chunk {

/// \brief A measured step and how much it counts.
struct WeightedStep {
  MeasuredStep step;
  double weight = 1.0;  ///< >= 0
};

/// \brief A fit, and how much slower than its prior the device is now.
struct PriorFitReport {
  FitReport fit;
  double scale = 1.0;  ///< recent step times over the prior's
};

/// \brief Fits recent steps beside a prior: what they do not tell, the prior does.
///
/// The prior says how step times relate to each other, not how long they are: a common factor is
/// an unknown of the fit. So a device that has become slower on the whole shows in few steps, and
/// a narrow workload (one chunk size, no history) leaves the model as well posed as the prior is.
class PriorFit {
 public:
  /// \param prior measured steps with a well-posed fit; those of no weight in it are to be left out
  /// \param max_recent most recent steps that one fit will get
  PriorFit(std::span<const MeasuredStep> prior, std::size_t max_recent);

  /// \brief Non-negative, relative-error, outlier-robust; allocates nothing but a refusal.
  /// \param recent steps, in any order
  /// \param start the model to start from: whatever lies far from it counts as an outlier
  /// \param scale the common factor expected, finite and > 0
  /// \throws FitRefused if the fit misses the steps, InvalidArgument for too many of them
  [[nodiscard]] PriorFitReport fit(std::span<const WeightedStep> recent, const LatencyModel& start,
                                   double scale);

 private:
  [[nodiscard]] double sigma_of(std::span<const WeightedStep> recent, const LatencyModel& start);
  void judge(std::span<const WeightedStep> recent, double prior_step_weight,
             PriorFitReport& report);
  [[nodiscard]] double quantile(std::size_t size, double share);

  std::vector<MeasuredStep> prior_;
  std::vector<double> inlier_weights_;
  std::vector<std::pair<double, double>> sorted_;  ///< values and weights, for quantiles
};

}  // namespace cpp_chunk
