#pragma once

#include <Eigen/Dense>

#include <cstddef>
#include <limits>
#include <span>

#include "cpp_chunk/block_qr.h"
#include "cpp_chunk/feature_row.h"
#include "cpp_chunk/fit_workspace.h"
#include "cpp_chunk/latency_model.h"
#include "cpp_chunk/step.h"

namespace cpp_chunk {

/// \brief Errors of the steps that got a weight; infinite where there is none.
struct InlierErrors {
  std::size_t num_inliers = 0;
  double mean_relative = std::numeric_limits<double>::infinity();  ///< weighted
  double p95_relative = std::numeric_limits<double>::infinity();
};

/// \brief Non-negative regression of step times that outliers do not bias.
///
/// Least absolute log ratios from several starts find which steps to believe; Tukey's bisquare
/// from the best of them is as precise as least squares over those.
class RobustRegression {
 public:
  /// \param steps usable ones of more than one chunk size, some with history; kept by reference
  /// \param workspace with room for all of them; kept by reference
  RobustRegression(std::span<const MeasuredStep> steps, FitWorkspace& workspace);

  /// \brief Condition number of all steps alike; infinite where a column is empty.
  [[nodiscard]] double condition_number() const;

  /// \brief Finds the coefficients, and what each step weighs in them.
  void run();

  /// \brief What run() has found.
  [[nodiscard]] FeatureRow coefficients() const noexcept;

  /// \brief How far the inliers of run() are from what was measured.
  [[nodiscard]] InlierErrors inlier_errors();

  /// \brief Condition number of the steps as run() weighs them.
  [[nodiscard]] double inlier_condition_number() const;

 private:
  static constexpr int kColumns = static_cast<int>(kNumCoefficients);

  using Vector = Eigen::Matrix<double, kColumns, 1>;

  void scale_columns();
  template <typename RowWeight>
  [[nodiscard]] Triangle<kColumns> fold(const RowWeight& row_weight) const {
    BlockQr<kColumns> qr;
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      qr.add(workspace_.rows_[i], steps_[i].latency_ms, row_weight(i));
    }
    return qr.triangle();
  }

  void predict(const Vector& solution);
  [[nodiscard]] double log_ratio(std::size_t i) const;
  double descend_l1();
  void find_robust_start();
  void polish();
  [[nodiscard]] double nth_smallest(std::size_t index, std::size_t size);

  std::span<const MeasuredStep> steps_;
  FitWorkspace& workspace_;
  FeatureRow scale_{};
  Vector solution_ = Vector::Zero();  // of the scaled columns
  Triangle<kColumns> weighted_ = Triangle<kColumns>::Zero();
};

}  // namespace cpp_chunk
