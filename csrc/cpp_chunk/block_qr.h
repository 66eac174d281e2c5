#pragma once

#include <Eigen/Dense>

#include <array>
#include <cmath>
#include <cstddef>
#include <limits>

namespace cpp_chunk {

/// \brief A least-squares problem in N unknowns after its QR factorisation: R, and beside it the
/// target's part. For any solution its residual is as long as that of all rows.
template <int N>
using Triangle = Eigen::Matrix<double, N + 1, N + 1>;

/// \brief Folds the weighted rows of a least-squares problem in N unknowns into one triangle.
///
/// A block of rows at a time: the time grows with the number of rows, the memory does not, and
/// nothing allocates. Sums of products would be faster and lose half of the digits.
template <int N>
class BlockQr {
 public:
  using Row = std::array<double, static_cast<std::size_t>(N)>;

  /// \param weight of the row and its target; its square is that of their squared residual
  void add(const Row& row, double target, double weight) {
    for (int column = 0; column < N; ++column) {
      block_(filled_, column) = weight * row[static_cast<std::size_t>(column)];
    }
    block_(filled_, N) = weight * target;
    ++filled_;
    if (filled_ == block_.rows()) {
      reduce();
    }
  }

  /// \brief What was added so far; more may follow.
  [[nodiscard]] Triangle<N> triangle() {
    block_.bottomRows(block_.rows() - filled_).setZero();
    reduce();
    return block_.template topRows<N + 1>();
  }

 private:
  static constexpr int kBlockRows = 32;

  using Block = Eigen::Matrix<double, N + 1 + kBlockRows, N + 1>;

  void reduce() {
    const Eigen::HouseholderQR<Block> qr(block_);
    const Triangle<N> triangle =
        qr.matrixQR().template topRows<N + 1>().template triangularView<Eigen::Upper>();
    block_.setZero();
    block_.template topRows<N + 1>() = triangle;
    filled_ = N + 1;
  }

  Block block_ = Block::Zero();
  Eigen::Index filled_ = N + 1;
};

/// \brief Ratio of the largest singular value of the first M columns, scaled to length 1, to the
/// smallest; infinite where a column is empty.
template <int M, int N>
[[nodiscard]] double condition_number(const Eigen::Matrix<double, N, N>& triangle) {
  static_assert(M < N, "the last column is the target's");
  Eigen::Matrix<double, M, M> columns = triangle.template topLeftCorner<M, M>();
  for (int column = 0; column < M; ++column) {
    const double norm = columns.col(column).norm();
    if (!(norm > 0.0) || !std::isfinite(norm)) {
      return std::numeric_limits<double>::infinity();
    }
    columns.col(column) /= norm;
  }
  const Eigen::JacobiSVD<Eigen::Matrix<double, M, M>> svd(columns);
  if (svd.info() != Eigen::Success) {
    return std::numeric_limits<double>::infinity();
  }
  const double smallest = svd.singularValues()(M - 1);
  return smallest > 0.0 ? svd.singularValues()(0) / smallest
                        : std::numeric_limits<double>::infinity();
}

}  // namespace cpp_chunk
