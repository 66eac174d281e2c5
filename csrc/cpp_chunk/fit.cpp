#include "cpp_chunk/fit.h"

#include <algorithm>
#include <string>

#include "cpp_chunk/error.h"
#include "cpp_chunk/feature_row.h"
#include "cpp_chunk/fit_data.h"
#include "cpp_chunk/number_text.h"
#include "cpp_chunk/robust_regression.h"

namespace cpp_chunk {
namespace {

void check_room(std::span<const MeasuredStep> steps, const FitWorkspace& workspace) {
  if (steps.size() > workspace.capacity()) {
    throw InvalidArgument({.field = "steps", .value = std::to_string(steps.size())},
                          "the fit workspace holds " + std::to_string(workspace.capacity()) +
                              " steps, got " + std::to_string(steps.size()));
  }
}

void check_condition(double condition_number, const char* which, std::size_t num_steps) {
  if (!(condition_number <= kMaxConditionNumber)) {
    throw FitRefused(RefusalReason::rank_deficient,
                     std::string("the columns of ") + which + " " + std::to_string(num_steps) +
                         " measured steps are dependent: condition number " +
                         rounded(condition_number) + ", limit " + shown(kMaxConditionNumber) +
                         "; measure more chunk sizes and histories");
  }
}

void check_errors(const InlierErrors& errors, std::size_t num_steps) {
  if (2 * errors.num_inliers < num_steps || !(errors.mean_relative <= kMaxMeanRelativeError)) {
    throw FitRefused(RefusalReason::bad_residual,
                     "mean relative error " + rounded(errors.mean_relative) + " over " +
                         std::to_string(errors.num_inliers) + " inliers of " +
                         std::to_string(num_steps) + " measured steps, limit " +
                         shown(kMaxMeanRelativeError));
  }
}

}  // namespace

FitReport fit_latency_model(std::span<const MeasuredStep> steps, FitWorkspace& workspace) {
  check_room(steps, workspace);
  check_usable(steps);
  check_diversity(steps);
  RobustRegression regression(steps, workspace);
  check_condition(regression.condition_number(), "all", steps.size());
  regression.run();
  const InlierErrors errors = regression.inlier_errors();
  check_errors(errors, steps.size());
  const double condition_number = regression.inlier_condition_number();
  check_condition(condition_number, "the inliers among", steps.size());

  const FeatureRow values = regression.coefficients();
  FitReport report{.model = LatencyModel(coefficients_of(values)),
                   .num_points = steps.size(),
                   .num_outliers = steps.size() - errors.num_inliers,
                   .condition_number = condition_number,
                   .mean_relative_error = errors.mean_relative,
                   .p95_relative_error = errors.p95_relative};
  std::ranges::transform(values, report.at_bound.begin(),
                         [](double value) { return value <= 0.0; });
  return report;
}

FitReport fit_latency_model(std::span<const MeasuredStep> steps) {
  FitWorkspace workspace(steps.size());
  return fit_latency_model(steps, workspace);
}

std::vector<MeasuredStep> inliers_of(std::span<const MeasuredStep> steps,
                                     const FitWorkspace& workspace) {
  std::vector<MeasuredStep> inliers;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (workspace.weights()[i] > 0.0) {
      inliers.push_back(steps[i]);
    }
  }
  return inliers;
}

}  // namespace cpp_chunk
