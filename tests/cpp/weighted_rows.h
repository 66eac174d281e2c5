#pragma once

#include <Eigen/Dense>

#include <array>
#include <cmath>
#include <random>
#include <vector>

#include "cpp_chunk/block_qr.h"

namespace cpp_chunk {

inline constexpr int kUnknowns = 5;
using Unknowns = Eigen::Matrix<double, kUnknowns, 1>;

struct WeightedRow {
  BlockQr<kUnknowns>::Row values{};
  double target = 0.0;
  double weight = 1.0;
};

inline Triangle<kUnknowns> triangle_of(const std::vector<WeightedRow>& rows) {
  BlockQr<kUnknowns> qr;
  for (const WeightedRow& row : rows) {
    qr.add(row.values, row.target, row.weight);
  }
  return qr.triangle();
}

// The rows as they were added, the targets last.
inline Eigen::MatrixXd matrix_of(const std::vector<WeightedRow>& rows) {
  Eigen::MatrixXd matrix(static_cast<Eigen::Index>(rows.size()), kUnknowns + 1);
  Eigen::Index index = 0;
  for (const WeightedRow& row : rows) {
    matrix.row(index).head<kUnknowns>() =
        row.weight * Eigen::Map<const Unknowns>(row.values.data()).transpose();
    matrix(index++, kUnknowns) = row.weight * row.target;
  }
  return matrix;
}

inline double residual(const Eigen::MatrixXd& matrix, const Unknowns& solution) {
  return (matrix.leftCols<kUnknowns>() * solution - matrix.col(kUnknowns)).norm();
}

inline std::vector<WeightedRow> random_rows(std::mt19937& random, int num_rows,
                                            double common = 0.0) {
  std::normal_distribution<double> normal;
  std::vector<WeightedRow> rows;
  for (int i = 0; i < num_rows; ++i) {
    WeightedRow row;
    for (double& value : row.values) {
      value = common + normal(random);
    }
    row.target = normal(random);
    row.weight = std::abs(normal(random));
    rows.push_back(row);
  }
  return rows;
}

}  // namespace cpp_chunk
