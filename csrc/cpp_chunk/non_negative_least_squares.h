#pragma once

#include <Eigen/Dense>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "cpp_chunk/block_qr.h"

namespace cpp_chunk {

/// \brief Lawson and Hanson's active set for least squares in N unknowns that may not be negative.
///
/// Every step factorises the columns of the unknowns that are free anew, by Householder's
/// reflections of the triangle: normal equations would lose half of the digits. Nothing allocates.
template <int N>
class NonNegativeLeastSquares {
 public:
  using Vector = Eigen::Matrix<double, N, 1>;

  explicit NonNegativeLeastSquares(const Triangle<N>& triangle) {
    for (int column = 0; column <= N; ++column) {
      const double norm = triangle.col(column).norm();
      const bool has_values = norm > 0.0 && std::isfinite(norm);
      norms_(column) = has_values ? norm : 0.0;
      if (has_values) {
        scaled_.col(column) = triangle.col(column) / norm;
      }
    }
  }

  /// \brief The smallest sum of squares with no negative value; 0 for a column without values.
  [[nodiscard]] Vector solve() {
    // All are free at first: mostly no value is negative then, which is the optimum.
    for (int column = 0; column < N; ++column) {
      if (norms_(column) > 0.0) {
        free_[static_cast<std::size_t>(num_free_++)] = column;
      }
    }
    for (int step = 0; step < kMostSteps; ++step) {
      factorise();
      if (move_to_optimum() && !free_one()) {
        break;
      }
    }
    for (int column = 0; column < N; ++column) {
      if (norms_(column) > 0.0) {
        solution_(column) *= norms_(N) / norms_(column);
      }
    }
    return solution_;
  }

 private:
  // Columns have length 1. One whose distance from what others span is less depends on them.
  static constexpr double kDependent = 1e-11;
  // Error of numbers up to 1 after N reflections: what is less may be 0 in truth.
  static constexpr double kRounding = 1e-14;
  // The sum falls with every unknown that is freed, so that no set of free ones comes twice; the
  // limit is for rounding, which might make one do so. Random problems took up to 2N.
  static constexpr int kMostSteps = 16 * N;

  [[nodiscard]] int free_column(int i) const { return free_[static_cast<std::size_t>(i)]; }

  // Reflects the free columns into a triangle, in their order, and all others with them.
  void factorise() {
    reflected_ = scaled_;
    int rank = 0;
    for (int i = 0; i < num_free_; ++i) {
      const int column = free_column(i);
      Eigen::Matrix<double, N + 1, 1> normal = reflected_.col(column);
      normal.head(rank).setZero();
      const double norm = normal.norm();
      if (!(norm > kDependent)) {
        solution_(column) = 0.0;
        continue;
      }
      const double length = std::copysign(norm, normal(rank));
      normal(rank) += length;
      const Eigen::Matrix<double, 1, N + 1> shares =
          normal.transpose() * reflected_ / (length * normal(rank));
      reflected_ -= normal * shares;
      free_[static_cast<std::size_t>(rank++)] = column;
    }
    num_free_ = rank;
  }

  // Moves the solution towards the optimum of the free unknowns. Where one of them becomes 0 on the
  // way, it stops there, fixes that one and returns false.
  bool move_to_optimum() {
    Vector optimum = Vector::Zero();
    for (int i = num_free_ - 1; i >= 0; --i) {
      const double rest = reflected_(i, N) - reflected_.row(i).template head<N>().dot(optimum);
      optimum(free_column(i)) = rest / reflected_(i, free_column(i));
    }
    double fraction = 1.0;
    int blocking = -1;
    for (int i = 0; i < num_free_; ++i) {
      const int column = free_column(i);
      if (optimum(column) <= 0.0) {
        const double way = solution_(column) - optimum(column);
        const double until_zero = way > 0.0 ? solution_(column) / way : 0.0;
        if (blocking < 0 || until_zero < fraction) {
          fraction = until_zero;
          blocking = i;
        }
      }
    }
    if (blocking < 0) {
      solution_ = optimum;
      return true;
    }
    solution_ = (solution_ + fraction * (optimum - solution_)).cwiseMax(0.0);
    solution_(free_column(blocking)) = 0.0;
    std::copy(free_.begin() + blocking + 1, free_.begin() + num_free_, free_.begin() + blocking);
    --num_free_;
    return false;
  }

  // Frees the unknown at 0 that makes the sum fall most: of its column, only what the free ones do
  // not span counts. Returns false where none makes it fall.
  bool free_one() {
    const auto left = reflected_.col(N).tail(N + 1 - num_free_);
    double steepest = 0.0;
    int entering = -1;
    for (int column = 0; column < N; ++column) {
      if (solution_(column) > 0.0) {
        continue;
      }
      const auto independent = reflected_.col(column).tail(N + 1 - num_free_);
      const double norm = independent.norm();
      const double product = independent.dot(left);
      if (norm > kDependent && product > kRounding * (norm + left.norm()) &&
          product > steepest * norm) {
        steepest = product / norm;
        entering = column;
      }
    }
    if (entering < 0) {
      return false;
    }
    free_[static_cast<std::size_t>(num_free_++)] = entering;
    return true;
  }

  Triangle<N> scaled_ = Triangle<N>::Zero();
  Triangle<N> reflected_;
  Eigen::Matrix<double, N + 1, 1> norms_;
  Vector solution_ = Vector::Zero();
  std::array<int, static_cast<std::size_t>(N)> free_{};
  int num_free_ = 0;
};

/// \brief The non-negative solution whose residual is the smallest.
template <int N>
[[nodiscard]] Eigen::Matrix<double, N, 1> solve_non_negative(const Triangle<N>& triangle) {
  return NonNegativeLeastSquares<N>(triangle).solve();
}

}  // namespace cpp_chunk
