#include "cpp_chunk/normal_equations.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace cpp_chunk {
namespace {

constexpr int kUnknowns = 5;
using Equations = NormalEquations<kUnknowns>;
using Vector = Equations::Vector;

struct Row {
  Vector values;
  double target = 0.0;
  double weight = 1.0;
};

Equations equations_of(const std::vector<Row>& rows) {
  Equations equations;
  for (const Row& row : rows) {
    equations.add(row.values, row.target, row.weight);
  }
  return equations;
}

double square_sum(const std::vector<Row>& rows, const Vector& solution) {
  double sum = 0.0;
  for (const Row& row : rows) {
    sum += row.weight * std::pow(row.values.dot(solution) - row.target, 2);
  }
  return sum;
}

// The optimum is the plain least squares of its own support: tries all of them, by QR.
double best_square_sum(const std::vector<Row>& rows) {
  double best = square_sum(rows, Vector::Zero());
  for (unsigned support = 1; support < 1U << kUnknowns; ++support) {
    Eigen::MatrixXd matrix = Eigen::MatrixXd::Zero(static_cast<Eigen::Index>(rows.size()), 5);
    Eigen::VectorXd target(static_cast<Eigen::Index>(rows.size()));
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto index = static_cast<Eigen::Index>(i);
      const double root = std::sqrt(rows[i].weight);
      for (int column = 0; column < kUnknowns; ++column) {
        if ((support >> static_cast<unsigned>(column) & 1U) != 0U) {
          matrix(index, column) = root * rows[i].values(column);
        }
      }
      target(index) = root * rows[i].target;
    }
    const Vector solution =
        Eigen::CompleteOrthogonalDecomposition<Eigen::MatrixXd>(matrix).solve(target);
    if (solution.minCoeff() >= 0.0) {
      best = std::min(best, square_sum(rows, solution));
    }
  }
  return best;
}

std::vector<Row> random_rows(std::mt19937& random, int num_rows, double common = 0.0) {
  std::normal_distribution<double> normal;
  std::vector<Row> rows;
  for (int i = 0; i < num_rows; ++i) {
    Row row;
    for (double& value : row.values) {
      value = common + normal(random);
    }
    row.target = normal(random);
    row.weight = std::abs(normal(random));
    rows.push_back(row);
  }
  return rows;
}

TEST(NormalEquations, FindTheBestOfAllSupports) {
  std::mt19937 random(1);
  for (int round = 0; round < 300; ++round) {
    // Alike columns too: there the active set changes often.
    const std::vector<Row> rows = random_rows(random, 5 + round % 12, round % 3);
    const Vector solution = equations_of(rows).solve();
    EXPECT_GE(solution.minCoeff(), 0.0);
    EXPECT_NEAR(square_sum(rows, solution), best_square_sum(rows),
                1e-9 * square_sum(rows, Vector::Zero()));
  }
}

TEST(NormalEquations, SolveInAnyUnits) {
  std::mt19937 random(2);
  const Vector units(0x1p-60, 0x1p40, 1.0, 0x1p-20, 0x1p80);
  for (const double target_unit : {0x1p-90, 1.0, 0x1p90}) {
    for (int round = 0; round < 50; ++round) {
      std::vector<Row> rows = random_rows(random, 12);
      const Vector solution = equations_of(rows).solve();
      for (Row& row : rows) {
        row.values = row.values.cwiseProduct(units);
        row.target *= target_unit;
      }
      const Vector scaled = equations_of(rows).solve();
      for (int column = 0; column < kUnknowns; ++column) {
        EXPECT_DOUBLE_EQ(scaled(column) * units(column) / target_unit, solution(column));
      }
    }
  }
}

TEST(NormalEquations, RecoverWhatTheRowsWereMadeOf) {
  std::mt19937 random(3);
  const Vector truth(3.0, 0.0, 1e-3, 2.0, 0.0);
  std::vector<Row> rows = random_rows(random, 20, 1.0);
  for (Row& row : rows) {
    row.target = row.values.dot(truth);
  }
  EXPECT_LT((equations_of(rows).solve() - truth).norm(), 1e-9);
}

TEST(NormalEquations, AColumnWithoutAValueGetsNothing) {
  std::mt19937 random(4);
  std::vector<Row> rows = random_rows(random, 12, 1.0);
  for (Row& row : rows) {
    row.values(2) = 0.0;
    row.target = 1.0;
  }
  const Equations equations = equations_of(rows);
  EXPECT_EQ(equations.solve()(2), 0.0);
  EXPECT_NEAR(square_sum(rows, equations.solve()), best_square_sum(rows), 1e-9);
  EXPECT_EQ(equations.condition_number<kUnknowns>(), std::numeric_limits<double>::infinity());
  EXPECT_LT(equations.condition_number<2>(), 100.0);
}

TEST(NormalEquations, EqualColumnsShareOneValue) {
  std::mt19937 random(5);
  std::vector<Row> rows = random_rows(random, 12, 1.0);
  for (Row& row : rows) {
    row.values(4) = row.values(0);
    row.target = 2.0 * row.values(0);
  }
  const Vector solution = equations_of(rows).solve();
  EXPECT_NEAR(solution(0) + solution(4), 2.0, 1e-9);
  EXPECT_NEAR(square_sum(rows, solution), 0.0, 1e-12);
}

TEST(NormalEquations, NothingToGainIsZero) {
  EXPECT_EQ(Equations().solve(), Vector::Zero());
  Equations equations;
  equations.add(Vector::Ones(), -1.0, 1.0);
  equations.add(Vector::Ones(), 5.0, 0.0);  // of no weight
  EXPECT_EQ(equations.solve(), Vector::Zero());
}

TEST(NormalEquations, ConditionIsThatOfScaledColumns) {
  NormalEquations<2> equations;
  equations.add({1e9, 0.0}, 0.0, 1.0);
  equations.add({0.0, 1e-9}, 0.0, 1.0);
  EXPECT_NEAR(equations.condition_number<2>(), 1.0, 1e-12);
  // Columns at 60 degrees: the eigenvalues of their cosines are 1.5 and 0.5.
  NormalEquations<2> oblique;
  oblique.add({1.0, 0.5}, 0.0, 1.0);
  oblique.add({0.0, std::sqrt(0.75)}, 0.0, 1.0);
  EXPECT_NEAR(oblique.condition_number<2>(), std::sqrt(3.0), 1e-12);
}

}  // namespace
}  // namespace cpp_chunk
