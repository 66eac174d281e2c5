#include "cpp_chunk/fit.h"

#include <Eigen/Dense>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "cpp_chunk/error.h"
#include "cpp_chunk/feature_row.h"
#include "cpp_chunk/number_text.h"

namespace cpp_chunk {
namespace {

constexpr int kColumns = static_cast<int>(kNumCoefficients);
constexpr int kAugmented = kColumns + 1;
constexpr int kBlockRows = 32;

// Residuals below this relative size are timer noise: L1 weights stop growing there.
constexpr double kL1Floor = 0.01;
// Relative noise that is always granted before a step can count as an outlier.
constexpr double kScaleFloor = 0.02;
// Tukey's constant for 95 % efficiency under normal noise.
constexpr double kTukey = 4.685;
// Turns a median absolute deviation into a standard deviation under normal noise.
constexpr double kMadToSigma = 1.4826;
// A start is judged by its residuals, each counted at most this much: an outlier must not choose.
constexpr double kScoreCap = 0.7;
constexpr std::array<std::size_t, 2> kFoldCounts = {3, 5};
constexpr int kL1Iterations = 12;
constexpr int kTukeyIterations = 30;
constexpr double kConverged = 1e-12;
constexpr double kRankThreshold = 1e-11;
constexpr double kSmallestRatio = 1e-9;

using Vector5 = Eigen::Matrix<double, kColumns, 1>;
using Triangle = Eigen::Matrix<double, kAugmented, kAugmented>;
using SubsetMatrix =
    Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::ColMajor, kAugmented, kColumns>;
using SubsetVector = Eigen::Matrix<double, Eigen::Dynamic, 1, Eigen::ColMajor, kColumns, 1>;

// Mean m with log(a/b) = (a-b)/m: a row divided by it has the log ratio as its residual, so a
// step 30 times too fast pulls no harder than one 30 times too slow.
double logarithmic_mean(double first, double second) noexcept {
  const double ratio = first / second;
  if (std::abs(ratio - 1.0) < 1e-6) {
    return 0.5 * (first + second);
  }
  return (first - second) / std::log(ratio);
}

// Folds weighted rows [A|b] into one 6x6 triangle, a block at a time: O(n), on the stack.
class BlockQr {
 public:
  void add_row(const std::array<double, kNumCoefficients>& row, double target, double weight) {
    for (int column = 0; column < kColumns; ++column) {
      block_(filled_, column) = weight * row[static_cast<std::size_t>(column)];
    }
    block_(filled_, kColumns) = weight * target;
    ++filled_;
    if (filled_ == block_.rows()) {
      reduce();
    }
  }

  Triangle finish() {
    block_.bottomRows(block_.rows() - filled_).setZero();
    reduce();
    return block_.topRows<kAugmented>();
  }

 private:
  using Block = Eigen::Matrix<double, kAugmented + kBlockRows, kAugmented>;

  void reduce() {
    const Eigen::HouseholderQR<Block> qr(block_);
    const Triangle triangle =
        qr.matrixQR().topRows<kAugmented>().template triangularView<Eigen::Upper>();
    block_.setZero();
    block_.topRows<kAugmented>() = triangle;
    filled_ = kAugmented;
  }

  Block block_ = Block::Zero();
  Eigen::Index filled_ = kAugmented;
};

// Least squares on one support; false when it is dependent or leaves the positive orthant.
bool solve_support(const Triangle& triangle, unsigned support, Vector5& solution,
                   double& residual_square) {
  std::array<int, kNumCoefficients> columns{};
  int size = 0;
  for (int column = 0; column < kColumns; ++column) {
    if ((support >> static_cast<unsigned>(column) & 1U) != 0U) {
      columns[static_cast<std::size_t>(size++)] = column;
    }
  }
  SubsetMatrix subset(kAugmented, size);
  for (int i = 0; i < size; ++i) {
    subset.col(i) = triangle.col(columns[static_cast<std::size_t>(i)]);
  }
  Eigen::ColPivHouseholderQR<SubsetMatrix> qr(subset);
  qr.setThreshold(kRankThreshold);
  if (qr.rank() < size) {
    return false;
  }
  const Eigen::Matrix<double, kAugmented, 1> target = triangle.col(kColumns);
  const SubsetVector values = qr.solve(target);
  if (!values.allFinite() || values.minCoeff() < 0.0) {
    return false;
  }
  residual_square = (subset * values - target).squaredNorm();
  solution.setZero();
  for (int i = 0; i < size; ++i) {
    solution(columns[static_cast<std::size_t>(i)]) = values(i);
  }
  return true;
}

// Exact non-negative least squares: the optimum is the plain least squares of its own support,
// and five columns have only 32 of those.
Vector5 solve_non_negative(const Triangle& triangle) {
  constexpr unsigned full = (1U << kNumCoefficients) - 1U;
  Vector5 best = Vector5::Zero();
  double best_residual_square = triangle.col(kColumns).squaredNorm();
  Vector5 candidate;
  double residual_square = 0.0;
  if (solve_support(triangle, full, candidate, residual_square)) {
    return candidate;  // the unconstrained optimum is feasible: nothing can beat it
  }
  for (unsigned support = 1; support < full; ++support) {
    if (solve_support(triangle, support, candidate, residual_square) &&
        residual_square < best_residual_square) {
      best_residual_square = residual_square;
      best = candidate;
    }
  }
  return best;
}

double condition_number(const Triangle& triangle) {
  Eigen::Matrix<double, kColumns, kColumns> columns = triangle.topLeftCorner<kColumns, kColumns>();
  for (int column = 0; column < kColumns; ++column) {
    const double norm = columns.col(column).norm();
    if (!(norm > 0.0) || !std::isfinite(norm)) {
      return std::numeric_limits<double>::infinity();
    }
    columns.col(column) /= norm;
  }
  const Eigen::JacobiSVD<Eigen::Matrix<double, kColumns, kColumns>> svd(columns);
  if (svd.info() != Eigen::Success) {
    return std::numeric_limits<double>::infinity();
  }
  const double smallest = svd.singularValues()(kColumns - 1);
  return smallest > 0.0 ? svd.singularValues()(0) / smallest
                        : std::numeric_limits<double>::infinity();
}

}  // namespace

FitWorkspace::FitWorkspace(std::size_t capacity)
    : capacity_(capacity),
      rows_(capacity),
      predicted_ms_(capacity),
      best_predicted_ms_(capacity),
      weights_(capacity),
      sorted_(capacity) {}

bool is_usable(const MeasuredStep& step) noexcept {
  const StepFeatures& features = step.features;
  return std::isfinite(step.latency_ms) && step.latency_ms > 0.0 && features.token_sum > 0.0 &&
         std::isfinite(features.token_sum) && std::isfinite(features.half_square_sum) &&
         features.half_square_sum > 0.0 && std::isfinite(features.cross_sum) &&
         features.cross_sum >= 0.0 && std::isfinite(features.context_sum) &&
         features.context_sum >= 0.0;
}

// One fit over one workspace; the phases share the scaled rows.
class Fitter {
 public:
  Fitter(std::span<const MeasuredStep> steps, FitWorkspace& workspace)
      : steps_(steps), workspace_(workspace) {}

  FitReport run() {
    check_steps();
    check_diversity();
    scale_columns();
    check_condition(reduce([this](std::size_t i) { return 1.0 / steps_[i].latency_ms; }), "all");
    find_robust_start();
    const Vector5 solution = polish();
    return report(solution);
  }

 private:
  void check_steps() const {
    if (steps_.size() > workspace_.capacity()) {
      throw InvalidArgument({.field = "steps", .value = std::to_string(steps_.size())},
                            "the fit workspace holds " + std::to_string(workspace_.capacity()) +
                                " steps, got " + std::to_string(steps_.size()));
    }
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      if (!is_usable(steps_[i])) {
        const std::string got = "latency_ms " + shown(steps_[i].latency_ms) + " for " +
                                shown(steps_[i].features.token_sum) + " tokens";
        throw InvalidArgument({.field = "steps", .value = got},
                              "measured step " + std::to_string(i) +
                                  " needs tokens >= 0, at least one new token and a finite "
                                  "latency_ms > 0, got " +
                                  got);
      }
    }
  }

  void check_diversity() const {
    if (steps_.size() < kMinFitPoints) {
      throw FitRefused(RefusalReason::too_few_points,
                       "a fit needs at least " + std::to_string(kMinFitPoints) +
                           " measured steps, got " + std::to_string(steps_.size()));
    }
    // sum(x^2/2) : sum(x) is the same in every step exactly when the two columns are dependent;
    // that is so with one chunk size, however many chunks a step holds.
    const StepFeatures& first = steps_.front().features;
    const double ratio = first.half_square_sum / first.token_sum;
    const bool single_size = std::ranges::all_of(steps_, [ratio](const MeasuredStep& step) {
      const double expected = ratio * step.features.token_sum;
      return std::abs(step.features.half_square_sum - expected) <= 1e-9 * expected;
    });
    if (single_size) {
      throw FitRefused(RefusalReason::single_chunk_size,
                       "all " + std::to_string(steps_.size()) +
                           " measured steps have chunks of one size, " + shown(2.0 * ratio) +
                           " tokens");
    }
    if (std::ranges::all_of(
            steps_, [](const MeasuredStep& step) { return step.features.cross_sum <= 0.0; })) {
      throw FitRefused(RefusalReason::no_history, "none of the " + std::to_string(steps_.size()) +
                                                      " measured steps has a chunk with history");
    }
  }

  void scale_columns() {
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

  template <typename RowWeight>
  [[nodiscard]] Triangle reduce(const RowWeight& row_weight) const {
    BlockQr qr;
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      qr.add_row(workspace_.rows_[i], steps_[i].latency_ms, row_weight(i));
    }
    return qr.finish();
  }

  double check_condition(const Triangle& triangle, const char* which) const {
    const double condition = condition_number(triangle);
    if (!(condition <= kMaxConditionNumber)) {
      throw FitRefused(
          RefusalReason::rank_deficient,
          std::string("the columns of ") + which + " " + std::to_string(steps_.size()) +
              " measured steps are dependent: condition number " + rounded(condition) + ", limit " +
              shown(kMaxConditionNumber) + "; measure more chunk sizes and histories");
    }
    return condition;
  }

  void predict(const Vector5& solution) {
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      double predicted_ms = 0.0;
      for (std::size_t column = 0; column < kNumCoefficients; ++column) {
        predicted_ms += workspace_.rows_[i][column] * solution(static_cast<Eigen::Index>(column));
      }
      // A prediction of zero has no log ratio; what matters is only that it is hopeless.
      workspace_.predicted_ms_[i] = std::max(predicted_ms, kSmallestRatio * steps_[i].latency_ms);
    }
  }

  [[nodiscard]] double log_ratio(std::size_t i) const {
    return std::log(workspace_.predicted_ms_[i] / steps_[i].latency_ms);
  }

  // Least absolute log ratios from the predictions at hand. Returns the capped score.
  double descend_l1() {
    for (int iteration = 0; iteration < kL1Iterations; ++iteration) {
      predict(solve_non_negative(reduce([this](std::size_t i) {
        const double denominator_ms =
            logarithmic_mean(workspace_.predicted_ms_[i], steps_[i].latency_ms);
        return 1.0 / (denominator_ms * std::sqrt(std::max(std::abs(log_ratio(i)), kL1Floor)));
      })));
    }
    double score = 0.0;
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      score += std::min(std::abs(log_ratio(i)), kScoreCap);
    }
    return score;
  }

  // An outlier can hold a descent that starts from it. So start several times, each time
  // without another third or fifth of the steps and once from a plain token rate, and keep the
  // best.
  void find_robust_start() {
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
      for (std::size_t fold = 0; fold < num_folds; ++fold) {
        predict(solve_non_negative(reduce([this, num_folds, fold](std::size_t i) {
          return i % num_folds == fold ? 0.0 : 1.0 / steps_[i].latency_ms;
        })));
        keep_if_better();
      }
    }
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      workspace_.sorted_[i] = steps_[i].latency_ms / steps_[i].features.token_sum;
    }
    const double rate_ms = sorted_quantile(steps_.size() / 2);
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      workspace_.predicted_ms_[i] = rate_ms * steps_[i].features.token_sum;
    }
    keep_if_better();
    std::copy_n(workspace_.best_predicted_ms_.begin(), steps_.size(),
                workspace_.predicted_ms_.begin());
  }

  // The index-th smallest of what sorted_ holds.
  double sorted_quantile(std::size_t index) {
    const auto begin = workspace_.sorted_.begin();
    const auto nth = begin + static_cast<std::ptrdiff_t>(index);
    std::nth_element(begin, nth, begin + static_cast<std::ptrdiff_t>(steps_.size()));
    return *nth;
  }

  // Tukey's bisquare on relative errors from the robust start, its scale kept fixed: steps far
  // off get no weight at all, so they do not bias what is left.
  Vector5 polish() {
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      workspace_.sorted_[i] = std::abs(log_ratio(i));
    }
    // Five residuals of an L1 fit are zero by construction: the median of the others.
    const std::size_t middle = std::min(steps_.size() - 1, (steps_.size() + kNumCoefficients) / 2);
    const double sigma = std::max(kMadToSigma * sorted_quantile(middle), kScaleFloor);
    Vector5 solution = Vector5::Zero();
    for (int iteration = 0; iteration < kTukeyIterations; ++iteration) {
      for (std::size_t i = 0; i < steps_.size(); ++i) {
        const double ratio = log_ratio(i) / (kTukey * sigma);
        const double slack = std::max(0.0, 1.0 - ratio * ratio);
        workspace_.weights_[i] = slack * slack;
      }
      triangle_ = reduce([this](std::size_t i) {
        return std::sqrt(workspace_.weights_[i]) / steps_[i].latency_ms;
      });
      const Vector5 previous = solution;
      solution = solve_non_negative(triangle_);
      predict(solution);
      if ((solution - previous).norm() <= kConverged * solution.norm()) {
        break;
      }
    }
    return solution;
  }

  FitReport report(const Vector5& solution) {
    FitReport result;
    result.num_points = steps_.size();
    double weight_sum = 0.0;
    double error_sum = 0.0;
    std::size_t num_inliers = 0;
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      const double weight = workspace_.weights_[i];
      if (weight <= 0.0) {
        continue;
      }
      const double error = std::abs(workspace_.predicted_ms_[i] / steps_[i].latency_ms - 1.0);
      weight_sum += weight;
      error_sum += weight * error;
      workspace_.sorted_[num_inliers++] = error;
    }
    result.num_outliers = steps_.size() - num_inliers;
    result.mean_relative_error =
        weight_sum > 0.0 ? error_sum / weight_sum : std::numeric_limits<double>::infinity();
    if (2 * num_inliers < steps_.size() || !(result.mean_relative_error <= kMaxMeanRelativeError)) {
      throw FitRefused(RefusalReason::bad_residual,
                       "mean relative error " + rounded(result.mean_relative_error) + " over " +
                           std::to_string(num_inliers) + " inliers of " +
                           std::to_string(steps_.size()) + " measured steps, limit " +
                           shown(kMaxMeanRelativeError));
    }
    std::fill(workspace_.sorted_.begin() + static_cast<std::ptrdiff_t>(num_inliers),
              workspace_.sorted_.begin() + static_cast<std::ptrdiff_t>(steps_.size()),
              std::numeric_limits<double>::infinity());
    result.p95_relative_error = sorted_quantile((num_inliers * 95 + 99) / 100 - 1);
    result.condition_number = check_condition(triangle_, "the inliers among");

    FeatureRow values{};
    for (std::size_t column = 0; column < kNumCoefficients; ++column) {
      values[column] = solution(static_cast<Eigen::Index>(column)) / scale_[column];
      result.at_bound[column] = values[column] <= 0.0;
    }
    result.model = LatencyModel(coefficients_of(values));
    return result;
  }

  std::span<const MeasuredStep> steps_;
  FitWorkspace& workspace_;
  std::array<double, kNumCoefficients> scale_{};
  Triangle triangle_ = Triangle::Zero();
};

FitReport fit_latency_model(std::span<const MeasuredStep> steps, FitWorkspace& workspace) {
  return Fitter(steps, workspace).run();
}

std::vector<MeasuredStep> inliers_of(std::span<const MeasuredStep> steps,
                                     const FitWorkspace& workspace) {
  std::vector<MeasuredStep> inliers;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (workspace.weights_[i] > 0.0) {
      inliers.push_back(steps[i]);
    }
  }
  return inliers;
}

FitReport fit_latency_model(std::span<const MeasuredStep> steps) {
  FitWorkspace workspace(steps.size());
  return fit_latency_model(steps, workspace);
}

}  // namespace cpp_chunk
