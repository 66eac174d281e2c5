#pragma once

#include <Eigen/Dense>

#include <cmath>
#include <limits>

namespace cpp_chunk {

/// \brief Least squares with N unknowns that may not be negative, from its sums of products.
///
/// For problems that are known to be well posed: squaring loses half of the digits. Nothing
/// allocates.
template <int N>
class NormalEquations {
 public:
  using Vector = Eigen::Matrix<double, N, 1>;

  /// \brief Adds one row: weight * (row . solution - target)^2.
  void add(const Vector& row, double target, double weight) {
    gram_ += (weight * row) * row.transpose();
    right_ += (weight * target) * row;
    target_square_ += weight * target * target;
  }

  /// \brief The smallest sum of squares with no negative value: Lawson and Hanson's active set.
  ///
  /// A column without a value gets 0.
  [[nodiscard]] Vector solve() const {
    // Columns of norm 1 and a target of norm 1: then a slope is a cosine, whatever the units.
    const Vector inverse_norms = gram_.diagonal().unaryExpr(
        [](double square) { return square > 0.0 ? 1.0 / std::sqrt(square) : 0.0; });
    const double target_norm = target_square_ > 0.0 ? std::sqrt(target_square_) : 1.0;
    const Matrix cosines = inverse_norms.asDiagonal() * gram_ * inverse_norms.asDiagonal();
    const Vector right = inverse_norms.cwiseProduct(right_) / target_norm;

    Vector solution = Vector::Zero();
    Mask is_free = Mask::Constant(false);
    // Each round frees one unknown and the sum falls strictly; the bound is for rounding alone.
    for (int round = 0; round < 3 * N; ++round) {
      const Vector slopes = right - cosines * solution;
      int entering = 0;
      const double steepest = is_free.select(0.0, slopes.array()).maxCoeff(&entering);
      if (!(steepest > kFlat)) {
        break;
      }
      is_free(entering) = true;
      move_to_optimum(cosines, right, is_free, solution);
    }
    return target_norm * inverse_norms.cwiseProduct(solution);
  }

  /// \brief Ratio of the largest singular value of the first M scaled columns to the smallest.
  template <int M>
  [[nodiscard]] double condition_number() const {
    Eigen::Matrix<double, M, M> gram = gram_.template topLeftCorner<M, M>();
    const Eigen::Matrix<double, M, 1> norms = gram.diagonal().cwiseSqrt();
    if (!(norms.minCoeff() > 0.0) || !norms.allFinite()) {
      return std::numeric_limits<double>::infinity();
    }
    gram = norms.cwiseInverse().asDiagonal() * gram * norms.cwiseInverse().asDiagonal();
    const Eigen::SelfAdjointEigenSolver<Eigen::Matrix<double, M, M>> eigen(gram,
                                                                           Eigen::EigenvaluesOnly);
    const double smallest = eigen.eigenvalues()(0);
    return smallest > 0.0 ? std::sqrt(eigen.eigenvalues()(M - 1) / smallest)
                          : std::numeric_limits<double>::infinity();
  }

 private:
  using Matrix = Eigen::Matrix<double, N, N>;

  using Mask = Eigen::Array<bool, N, 1>;

  // A slope that is rounding: sums of products are good to about N times 2e-16.
  static constexpr double kFlat = 1e-13;

  // Steps to the optimum of the free unknowns, fixing each that reaches 0 on the way.
  static void move_to_optimum(const Matrix& gram, const Vector& right, Mask& is_free,
                              Vector& solution) {
    while (is_free.any()) {
      const Vector optimum = solve_free(gram, right, is_free);
      double fraction = 1.0;
      int blocking = -1;
      for (int i = 0; i < N; ++i) {
        if (is_free(i) && optimum(i) <= 0.0) {
          const double way = solution(i) - optimum(i);
          const double until_zero = way > 0.0 ? solution(i) / way : 0.0;
          if (blocking < 0 || until_zero < fraction) {
            fraction = until_zero;
            blocking = i;
          }
        }
      }
      solution += fraction * (optimum - solution);
      if (blocking < 0) {
        return;
      }
      is_free(blocking) = false;
      solution(blocking) = 0.0;
    }
  }

  // The unconstrained optimum with all others at 0: their rows and columns become the identity's.
  static Vector solve_free(const Matrix& gram, const Vector& right, const Mask& is_free) {
    Matrix free_gram = gram;
    Vector free_right = right;
    for (int i = 0; i < N; ++i) {
      if (!is_free(i)) {
        free_gram.row(i).setZero();
        free_gram.col(i).setZero();
        free_gram(i, i) = 1.0;
        free_right(i) = 0.0;
      }
    }
    return free_gram.ldlt().solve(free_right);
  }

  Matrix gram_ = Matrix::Zero();
  Vector right_ = Vector::Zero();
  double target_square_ = 0.0;
};

}  // namespace cpp_chunk
