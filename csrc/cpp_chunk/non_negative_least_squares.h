#pragma once

#include <Eigen/Dense>

#include <array>
#include <cstddef>

#include "cpp_chunk/block_qr.h"

namespace cpp_chunk {

/// \brief Least squares on the columns of one support; false when they are dependent or the
/// solution leaves the positive orthant.
template <int N>
bool solve_support(const Triangle<N>& triangle, unsigned support,
                   Eigen::Matrix<double, N, 1>& solution, double& residual_square) {
  using SubsetMatrix =
      Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::ColMajor, N + 1, N>;
  using SubsetVector = Eigen::Matrix<double, Eigen::Dynamic, 1, Eigen::ColMajor, N, 1>;
  constexpr double rank_threshold = 1e-11;
  std::array<int, static_cast<std::size_t>(N)> columns{};
  int size = 0;
  for (int column = 0; column < N; ++column) {
    if ((support >> static_cast<unsigned>(column) & 1U) != 0U) {
      columns[static_cast<std::size_t>(size++)] = column;
    }
  }
  SubsetMatrix subset(N + 1, size);
  for (int i = 0; i < size; ++i) {
    subset.col(i) = triangle.col(columns[static_cast<std::size_t>(i)]);
  }
  Eigen::ColPivHouseholderQR<SubsetMatrix> qr(subset);
  qr.setThreshold(rank_threshold);
  if (qr.rank() < size) {
    return false;
  }
  const Eigen::Matrix<double, N + 1, 1> target = triangle.col(N);
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

/// \brief Exact non-negative least squares: the optimum is the plain least squares of its own
/// support, and of few columns there are few supports.
template <int N>
[[nodiscard]] Eigen::Matrix<double, N, 1> solve_non_negative(const Triangle<N>& triangle) {
  constexpr unsigned full = (1U << static_cast<unsigned>(N)) - 1U;
  Eigen::Matrix<double, N, 1> best = Eigen::Matrix<double, N, 1>::Zero();
  double best_residual_square = triangle.col(N).squaredNorm();
  Eigen::Matrix<double, N, 1> candidate;
  double residual_square = 0.0;
  if (solve_support<N>(triangle, full, candidate, residual_square)) {
    return candidate;  // the unconstrained optimum is feasible: nothing can beat it
  }
  for (unsigned support = 1; support < full; ++support) {
    if (solve_support<N>(triangle, support, candidate, residual_square) &&
        residual_square < best_residual_square) {
      best_residual_square = residual_square;
      best = candidate;
    }
  }
  return best;
}

}  // namespace cpp_chunk
