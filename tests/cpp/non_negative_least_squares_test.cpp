#include "cpp_chunk/non_negative_least_squares.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <random>
#include <vector>

#include "weighted_rows.h"

namespace cpp_chunk {
namespace {

Unknowns solved(const std::vector<WeightedRow>& rows) {
  return solve_non_negative<kUnknowns>(triangle_of(rows));
}

// The optimum is the plain least squares of its own support: tries all of them.
double best_residual(const Eigen::MatrixXd& matrix) {
  double best = residual(matrix, Unknowns::Zero());
  for (unsigned support = 1; support < 1U << kUnknowns; ++support) {
    Eigen::MatrixXd columns = matrix.leftCols<kUnknowns>();
    for (int column = 0; column < kUnknowns; ++column) {
      if ((support >> static_cast<unsigned>(column) & 1U) == 0U) {
        columns.col(column).setZero();
      }
    }
    const Unknowns solution =
        Eigen::CompleteOrthogonalDecomposition<Eigen::MatrixXd>(columns).solve(
            matrix.col(kUnknowns));
    if (solution.minCoeff() >= 0.0) {
      best = std::min(best, residual(matrix, solution));
    }
  }
  return best;
}

void expect_best(const std::vector<WeightedRow>& rows) {
  const Eigen::MatrixXd matrix = matrix_of(rows);
  const Unknowns solution = solved(rows);
  EXPECT_GE(solution.minCoeff(), 0.0);
  // Terms of a residual are rounded before they cancel: so much of it is not known.
  const double terms = matrix.colwise().norm().head<kUnknowns>().dot(solution);
  const double rounding = 1e-14 * (matrix.col(kUnknowns).norm() + terms);
  EXPECT_LE(residual(matrix, solution), best_residual(matrix) + rounding);
}

TEST(NonNegativeLeastSquares, FindsTheBestOfAllSupports) {
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    // Alike columns too: there the active set changes often.
    expect_best(random_rows(random, 5 + round % 12, round % 3));
  }
}

TEST(NonNegativeLeastSquares, FindsTheBestOfIllConditionedColumns) {
  std::mt19937 random(2);
  std::normal_distribution<double> normal;
  for (int round = 0; round < 300; ++round) {
    const double difference = std::pow(10.0, -1 - round % 8);
    std::vector<WeightedRow> rows = random_rows(random, 6 + round % 12);
    for (WeightedRow& row : rows) {
      const double common = 1.0 + std::abs(normal(random));
      for (double& value : row.values) {
        value = common + difference * value;
      }
      // Targets that the columns make, that they almost make, and that they do not.
      constexpr std::array<double, 3> noise = {0.0, 1e-6, 1.0};
      row.target = row.values[1] + 2.0 * row.values[3] +
                   noise[static_cast<std::size_t>(round % 3)] * row.target;
    }
    expect_best(rows);
  }
}

TEST(NonNegativeLeastSquares, FindsTheBestOfDependentColumns) {
  std::mt19937 random(3);
  for (int round = 0; round < 300; ++round) {
    std::vector<WeightedRow> rows = random_rows(random, 2 + round % 12, round % 2);
    for (WeightedRow& row : rows) {
      row.values[3] = (round % 3 == 0 ? -1.0 : 2.0) * row.values[0];
      row.values[1] = row.values[2] + (round % 5 == 0 ? -1.0 : 0.5) * row.values[4];
    }
    expect_best(rows);
  }
}

TEST(NonNegativeLeastSquares, SolvesInAnyUnits) {
  std::mt19937 random(4);
  const Unknowns units(0x1p-60, 0x1p40, 1.0, 0x1p-20, 0x1p80);
  for (const double target_unit : {0x1p-90, 1.0, 0x1p90}) {
    for (int round = 0; round < 50; ++round) {
      std::vector<WeightedRow> rows = random_rows(random, 12);
      const Unknowns solution = solved(rows);
      for (WeightedRow& row : rows) {
        for (int column = 0; column < kUnknowns; ++column) {
          row.values[static_cast<std::size_t>(column)] *= units(column);
        }
        row.target *= target_unit;
      }
      const Unknowns scaled = solved(rows);
      for (int column = 0; column < kUnknowns; ++column) {
        EXPECT_DOUBLE_EQ(scaled(column) * units(column) / target_unit, solution(column));
      }
    }
  }
}

TEST(NonNegativeLeastSquares, RecoversWhatTheRowsWereMadeOf) {
  std::mt19937 random(5);
  const Unknowns truth(3.0, 0.0, 1e-3, 2.0, 0.0);
  std::vector<WeightedRow> rows = random_rows(random, 20, 1.0);
  for (WeightedRow& row : rows) {
    row.target = Eigen::Map<const Unknowns>(row.values.data()).dot(truth);
  }
  EXPECT_LT((solved(rows) - truth).norm(), 1e-12);
}

TEST(NonNegativeLeastSquares, KeepsTheDigitsThatSquaresWouldLose) {
  std::mt19937 random(6);
  const Unknowns truth(3.0, 1.0, 0.5, 2.0, 1.0);
  std::vector<WeightedRow> rows = random_rows(random, 20);
  for (WeightedRow& row : rows) {
    row.values[1] = row.values[0] + 1e-7 * row.values[1];
    row.target = Eigen::Map<const Unknowns>(row.values.data()).dot(truth);
  }
  EXPECT_GT(condition_number<kUnknowns>(triangle_of(rows)), 1e7);
  EXPECT_LT((solved(rows) - truth).norm(), 1e-7);
}

TEST(NonNegativeLeastSquares, AColumnWithoutAValueGetsNothing) {
  std::mt19937 random(7);
  std::vector<WeightedRow> rows = random_rows(random, 12, 1.0);
  for (WeightedRow& row : rows) {
    row.values[2] = 0.0;
    row.target = 1.0;
  }
  EXPECT_EQ(solved(rows)(2), 0.0);
  expect_best(rows);
}

TEST(NonNegativeLeastSquares, EqualColumnsShareOneValue) {
  std::mt19937 random(8);
  std::vector<WeightedRow> rows = random_rows(random, 12, 1.0);
  for (WeightedRow& row : rows) {
    row.values[4] = row.values[0];
    row.target = 2.0 * row.values[0];
  }
  const Unknowns solution = solved(rows);
  EXPECT_NEAR(solution(0) + solution(4), 2.0, 1e-12);
  EXPECT_NEAR(residual(matrix_of(rows), solution), 0.0, 1e-12);
}

TEST(NonNegativeLeastSquares, NothingToGainIsZero) {
  EXPECT_EQ(solved({}), Unknowns::Zero());
  const BlockQr<kUnknowns>::Row ones = {1.0, 1.0, 1.0, 1.0, 1.0};
  EXPECT_EQ(solved({{.values = ones, .target = -1.0}}), Unknowns::Zero());
  EXPECT_EQ(
      solved({{.values = ones, .target = -1.0}, {.values = ones, .target = 5.0, .weight = 0}}),
      Unknowns::Zero());
}

TEST(NonNegativeLeastSquares, WhatIsNoNumberGetsNothing) {
  const double infinity = std::numeric_limits<double>::infinity();
  Triangle<kUnknowns> triangle = Triangle<kUnknowns>::Identity();
  triangle.col(kUnknowns).setOnes();
  triangle(0, 0) = infinity;
  triangle(1, 1) = std::nan("");
  EXPECT_EQ(solve_non_negative<kUnknowns>(triangle), Unknowns(0.0, 0.0, 1.0, 1.0, 1.0));
  triangle(0, kUnknowns) = infinity;
  EXPECT_EQ(solve_non_negative<kUnknowns>(triangle), Unknowns::Zero());
}

}  // namespace
}  // namespace cpp_chunk
