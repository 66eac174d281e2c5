#include "cpp_chunk/prior_fit.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
#include <string>

#include "cpp_chunk/block_qr.h"
#include "cpp_chunk/error.h"
#include "cpp_chunk/feature_row.h"
#include "cpp_chunk/log_ratio.h"
#include "cpp_chunk/non_negative_least_squares.h"
#include "cpp_chunk/number_text.h"
#include "cpp_chunk/robust.h"

namespace cpp_chunk {
namespace {

// The coefficients, and the common factor of the prior.
constexpr int kUnknowns = static_cast<int>(kNumCoefficients) + 1;
constexpr std::size_t kScale = kNumCoefficients;

// All steps of the prior together weigh as much as this many recent ones.
constexpr double kPriorWeight = 6.0;
// The factor stays where it was unless recent steps say otherwise: that weighs as two of them.
constexpr double kScaleRowWeight = std::numbers::sqrt2;
// The second weighs by what the first has found, which brings back a model that was far off. With
// six, errors were the same within 0.03 % of step times, at 10 % of noise.
constexpr int kIterations = 2;

using Rows = BlockQr<kUnknowns>;

// What a step costs for each unknown, as a share of the time it took. Unknowns are the prior's, and
// steps are as many times slower as expected: so the prior counts the same on a device of any
// speed.
Rows::Row share_row(const MeasuredStep& step, double scale) {
  const FeatureRow row = feature_row(step.features);
  Rows::Row shares{};
  for (std::size_t column = 0; column < kNumCoefficients; ++column) {
    shares[column] = row[column] * scale / step.latency_ms;
  }
  return shares;
}

// Turns a row's relative error into its log ratio: a step that is twice too fast then pulls no
// harder than one that is twice too slow.
double logarithmic(double ratio) { return ratio == 0.0 ? 1.0 : ratio / std::expm1(ratio); }

}  // namespace

PriorFit::PriorFit(std::span<const MeasuredStep> prior, std::size_t max_recent)
    : prior_(prior.begin(), prior.end()),
      inlier_weights_(max_recent),
      sorted_(prior.size() + max_recent) {
  FeatureRow sums{};
  for (const MeasuredStep& step : prior_) {
    const FeatureRow row = feature_row(step.features);
    std::ranges::transform(sums, row, sums.begin(), std::plus());
  }
  if (!std::ranges::all_of(sums, [](double sum) { return sum > 0.0; })) {
    throw InvalidArgument({.field = "prior", .value = "a column without a value"},
                          "the prior has a column without a value: it carries no fit");
  }
}

PriorFitReport PriorFit::fit(std::span<const WeightedStep> recent, const LatencyModel& start,
                             double scale) {
  if (recent.size() > inlier_weights_.size()) {
    throw InvalidArgument({.field = "recent", .value = std::to_string(recent.size())},
                          "a fit takes at most " + std::to_string(inlier_weights_.size()) +
                              " recent steps, got " + std::to_string(recent.size()));
  }
  const double sigma = sigma_of(recent, start);
  const double prior_step_weight = kPriorWeight / static_cast<double>(prior_.size());

  // Prior steps take as many times what they took as the last unknown says.
  Rows of_prior;
  for (const MeasuredStep& step : prior_) {
    Rows::Row row = share_row(step, 1.0);
    row[kScale] = -1.0;
    of_prior.add(row, 0.0, std::sqrt(prior_step_weight));
  }
  Rows::Row scale_row{};
  scale_row[kScale] = 1.0;
  of_prior.add(scale_row, 1.0, kScaleRowWeight);

  PriorFitReport report{.fit = {.model = start}};
  for (int iteration = 0; iteration < kIterations; ++iteration) {
    Rows rows = of_prior;
    for (std::size_t i = 0; i < recent.size(); ++i) {
      const double ratio = log_ratio(report.fit.model, recent[i].step);
      inlier_weights_[i] = recent[i].weight * bisquare_weight(ratio, sigma);
      // An outlier's row may be beyond what a double holds.
      if (inlier_weights_[i] > 0.0) {
        rows.add(share_row(recent[i].step, scale), 1.0,
                 std::sqrt(inlier_weights_[i]) * logarithmic(ratio));
      }
    }
    const Triangle<kUnknowns> triangle = rows.triangle();
    const Eigen::Matrix<double, kUnknowns, 1> solution = solve_non_negative<kUnknowns>(triangle);
    FeatureRow values{};
    for (std::size_t column = 0; column < kNumCoefficients; ++column) {
      values[column] = solution(static_cast<Eigen::Index>(column)) * scale;
      report.fit.at_bound[column] = values[column] <= 0.0;
    }
    report.scale = scale * solution(static_cast<Eigen::Index>(kScale));
    report.fit.condition_number = condition_number<static_cast<int>(kNumCoefficients)>(triangle);
    const bool is_finite = std::ranges::all_of(values, [](double v) { return std::isfinite(v); });
    if (!is_finite || !(report.fit.condition_number <= kMaxConditionNumber)) {
      throw FitRefused(RefusalReason::rank_deficient,
                       "profile and recent steps carry no fit: condition number " +
                           rounded(report.fit.condition_number) + ", limit " +
                           shown(kMaxConditionNumber));
    }
    report.fit.model = LatencyModel(coefficients_of(values));
  }
  judge(recent, prior_step_weight, report);
  return report;
}

double PriorFit::sigma_of(std::span<const WeightedStep> recent, const LatencyModel& start) {
  for (std::size_t i = 0; i < recent.size(); ++i) {
    sorted_[i] = {std::abs(log_ratio(start, recent[i].step)), recent[i].weight};
  }
  return robust_sigma(quantile(recent.size(), 0.5));
}

void PriorFit::judge(std::span<const WeightedStep> recent, double prior_step_weight,
                     PriorFitReport& report) {
  const auto error = [&report](const MeasuredStep& step, double scale) {
    return std::abs(report.fit.model.step_ms(step.features) / (scale * step.latency_ms) - 1.0);
  };
  double weight_sum = 0.0;
  double error_sum = 0.0;
  std::size_t num_inliers = 0;
  const auto count = [&](double relative_error, double weight) {
    weight_sum += weight;
    error_sum += weight * relative_error;
    sorted_[num_inliers++] = {relative_error, weight};
  };
  for (const MeasuredStep& step : prior_) {
    count(error(step, report.scale), prior_step_weight);
  }
  for (std::size_t i = 0; i < recent.size(); ++i) {
    if (inlier_weights_[i] > 0.0) {
      count(error(recent[i].step, 1.0), inlier_weights_[i]);
    }
  }
  report.fit.num_points = prior_.size() + recent.size();
  report.fit.num_outliers = report.fit.num_points - num_inliers;
  report.fit.mean_relative_error = error_sum / weight_sum;
  report.fit.p95_relative_error = quantile(num_inliers, 0.95);
  if (!(report.fit.mean_relative_error <= kMaxMeanRelativeError)) {
    throw FitRefused(RefusalReason::bad_residual,
                     "mean relative error " + shown(report.fit.mean_relative_error) +
                         " over the profile and " + std::to_string(recent.size()) +
                         " recent steps, limit " + shown(kMaxMeanRelativeError));
  }
}

double PriorFit::quantile(std::size_t size, double share) {
  const auto values = std::span(sorted_).first(size);
  std::ranges::sort(values);
  double left = 0.0;
  for (const auto& [value, weight] : values) {
    left += share * weight;
  }
  for (const auto& [value, weight] : values) {
    left -= weight;
    if (left <= 0.0) {
      return value;
    }
  }
  return 0.0;
}

}  // namespace cpp_chunk
