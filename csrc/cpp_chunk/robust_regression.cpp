#include "cpp_chunk/robust_regression.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "cpp_chunk/log_ratio.h"
#include "cpp_chunk/non_negative_least_squares.h"
#include "cpp_chunk/robust.h"

namespace cpp_chunk {
namespace {

// Log ratios below this are timer noise. A weight is one over its step's log ratio: without a
// floor, the steps hit exactly would outweigh all others.
constexpr double kL1Floor = 0.01;
// Most that a step's log ratio counts in the choice between starts: an outlier must not choose.
constexpr double kMostScore = 0.7;
constexpr std::array<std::size_t, 2> kFoldCounts = {3, 5};
constexpr int kL1Iterations = 12;
constexpr int kTukeyIterations = 30;
constexpr double kConverged = 1e-12;

// Mean m with log(a/b) = (a-b)/m: a row divided by it has the log ratio as its residual, so a
// step 30 times too fast pulls no harder than one 30 times too slow.
double logarithmic_mean(double first, double second) noexcept {
  const double ratio = first / second;
  if (std::abs(ratio - 1.0) < 1e-6) {
    return 0.5 * (first + second);
  }
  return (first - second) / std::log(ratio);
}

}  // namespace

RobustRegression::RobustRegression(std::span<const MeasuredStep> steps, FitWorkspace& workspace)
    : steps_(steps), workspace_(workspace) {
  scale_columns();
}

double RobustRegression::condition_number() const {
  return cpp_chunk::condition_number<kColumns>(
      fold([this](std::size_t i) { return 1.0 / steps_[i].latency_ms; }));
}

void RobustRegression::run() {
  find_robust_start();
  polish();
}

FeatureRow RobustRegression::coefficients() const noexcept {
  FeatureRow values{};
  for (std::size_t column = 0; column < kNumCoefficients; ++column) {
    values[column] = solution_(static_cast<Eigen::Index>(column)) / scale_[column];
  }
  return values;
}

InlierErrors RobustRegression::inlier_errors() {
  InlierErrors errors;
  double weight_sum = 0.0;
  double error_sum = 0.0;
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    const double weight = workspace_.weights_[i];
    if (weight <= 0.0) {
      continue;
    }
    const double error = std::abs(workspace_.predicted_ms_[i] / steps_[i].latency_ms - 1.0);
    weight_sum += weight;
    error_sum += weight * error;
    workspace_.sorted_[errors.num_inliers++] = error;
  }
  if (errors.num_inliers > 0) {
    errors.mean_relative = error_sum / weight_sum;
    errors.p95_relative =
        nth_smallest((errors.num_inliers * 95 + 99) / 100 - 1, errors.num_inliers);
  }
  return errors;
}

double RobustRegression::inlier_condition_number() const {
  return cpp_chunk::condition_number<kColumns>(weighted_);
}

void RobustRegression::scale_columns() {
  std::array<double, kNumCoefficients> squares{};
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    workspace_.rows_[i] = feature_row(steps_[i].features);
    for (std::size_t column = 0; column < kNumCoefficients; ++column) {
      const double relative = workspace_.rows_[i][column] / steps_[i].latency_ms;
      squares[column] += relative * relative;
    }
  }
  for (std::size_t column = 0; column < kNumCoefficients; ++column) {
    scale_[column] = std::sqrt(squares[column]);
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      workspace_.rows_[i][column] /= scale_[column];
    }
  }
}

void RobustRegression::predict(const Vector& solution) {
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    double predicted_ms = 0.0;
    for (std::size_t column = 0; column < kNumCoefficients; ++column) {
      predicted_ms += workspace_.rows_[i][column] * solution(static_cast<Eigen::Index>(column));
    }
    workspace_.predicted_ms_[i] = std::max(predicted_ms, steps_[i].latency_ms / kFarthestRatio);
  }
}

double RobustRegression::log_ratio(std::size_t i) const {
  return std::log(workspace_.predicted_ms_[i] / steps_[i].latency_ms);
}

// Least absolute log ratios from the predictions at hand. Returns the score, less being better.
double RobustRegression::descend_l1() {
  for (int iteration = 0; iteration < kL1Iterations; ++iteration) {
    predict(solve_non_negative<kColumns>(fold([this](std::size_t i) {
      const double denominator_ms =
          logarithmic_mean(workspace_.predicted_ms_[i], steps_[i].latency_ms);
      return 1.0 / (denominator_ms * std::sqrt(std::max(std::abs(log_ratio(i)), kL1Floor)));
    })));
  }
  double score = 0.0;
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    score += std::min(std::abs(log_ratio(i)), kMostScore);
  }
  return score;
}

// An outlier can hold a descent that starts from it. So start several times, each time without
// another third or fifth of the steps and once from a plain token rate, and keep the best.
void RobustRegression::find_robust_start() {
  double best_score = std::numeric_limits<double>::infinity();
  const auto keep_if_better = [&] {
    const double score = descend_l1();
    if (score < best_score) {
      best_score = score;
      std::copy_n(workspace_.predicted_ms_.begin(), steps_.size(),
                  workspace_.best_predicted_ms_.begin());
    }
  };
  for (const std::size_t num_folds : kFoldCounts) {
    for (std::size_t left_out = 0; left_out < num_folds; ++left_out) {
      predict(solve_non_negative<kColumns>(fold([this, num_folds, left_out](std::size_t i) {
        return i % num_folds == left_out ? 0.0 : 1.0 / steps_[i].latency_ms;
      })));
      keep_if_better();
    }
  }
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    workspace_.sorted_[i] = steps_[i].latency_ms / steps_[i].features.token_sum;
  }
  const double token_ms = nth_smallest(steps_.size() / 2, steps_.size());
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    workspace_.predicted_ms_[i] = token_ms * steps_[i].features.token_sum;
  }
  keep_if_better();
  std::copy_n(workspace_.best_predicted_ms_.begin(), steps_.size(),
              workspace_.predicted_ms_.begin());
}

// Tukey's bisquare on relative errors from the robust start, its scale kept fixed: steps far off
// get no weight at all, so they do not bias what is left.
void RobustRegression::polish() {
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    workspace_.sorted_[i] = std::abs(log_ratio(i));
  }
  // Five residuals of an L1 fit are zero by construction: the median of the others.
  const std::size_t middle = std::min(steps_.size() - 1, (steps_.size() + kNumCoefficients) / 2);
  const double sigma = robust_sigma(nth_smallest(middle, steps_.size()));
  for (int iteration = 0; iteration < kTukeyIterations; ++iteration) {
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      workspace_.weights_[i] = bisquare_weight(log_ratio(i), sigma);
    }
    weighted_ = fold(
        [this](std::size_t i) { return std::sqrt(workspace_.weights_[i]) / steps_[i].latency_ms; });
    const Vector previous = solution_;
    solution_ = solve_non_negative<kColumns>(weighted_);
    predict(solution_);
    if ((solution_ - previous).norm() <= kConverged * solution_.norm()) {
      break;
    }
  }
}

// Of the first values of the workspace's sorted_, which it reorders.
double RobustRegression::nth_smallest(std::size_t index, std::size_t size) {
  const auto begin = workspace_.sorted_.begin();
  const auto nth = begin + static_cast<std::ptrdiff_t>(index);
  std::nth_element(begin, nth, begin + static_cast<std::ptrdiff_t>(size));
  return *nth;
}

}  // namespace cpp_chunk
