#include "cpp_chunk/block_qr.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "weighted_rows.h"

namespace cpp_chunk {
namespace {

TEST(BlockQr, TheTriangleHasTheResidualsOfTheRows) {
  std::mt19937 random(1);
  for (const int num_rows : {1, 5, 31, 32, 33, 64, 65, 200}) {
    const std::vector<WeightedRow> rows = random_rows(random, num_rows);
    const Eigen::MatrixXd matrix = matrix_of(rows);
    const Triangle<kUnknowns> triangle = triangle_of(rows);
    EXPECT_TRUE(triangle.isUpperTriangular(0.0));
    for (const Unknowns& solution : {Unknowns(Unknowns::Zero()), Unknowns(Unknowns::Ones()),
                                     Unknowns(1.0, -2.0, 3.0, -4.0, 5.0)}) {
      EXPECT_NEAR(residual(triangle, solution), residual(matrix, solution),
                  1e-13 * residual(matrix, solution));
    }
  }
}

TEST(BlockQr, MoreRowsMayFollow) {
  std::mt19937 random(2);
  const std::vector<WeightedRow> rows = random_rows(random, 70);
  BlockQr<kUnknowns> whole;
  for (const WeightedRow& row : rows) {
    whole.add(row.values, row.target, row.weight);
    (void)whole.triangle();
  }
  EXPECT_NEAR(residual(whole.triangle(), Unknowns::Ones()),
              residual(matrix_of(rows), Unknowns::Ones()), 1e-12);
}

TEST(BlockQr, WithoutRowsThereIsNothing) {
  EXPECT_EQ(BlockQr<kUnknowns>().triangle(), Triangle<kUnknowns>::Zero());
}

TEST(BlockQr, ConditionIsThatOfScaledColumns) {
  BlockQr<2> scaled;
  scaled.add({1e9, 0.0}, 0.0, 1.0);
  scaled.add({0.0, 1e-9}, 0.0, 1.0);
  EXPECT_NEAR(condition_number<2>(scaled.triangle()), 1.0, 1e-12);
  // Columns at 60 degrees: the eigenvalues of their cosines are 1.5 and 0.5.
  BlockQr<2> oblique;
  oblique.add({1.0, 0.5}, 0.0, 1.0);
  oblique.add({0.0, std::sqrt(0.75)}, 0.0, 1.0);
  EXPECT_NEAR(condition_number<2>(oblique.triangle()), std::sqrt(3.0), 1e-12);
  // At so small an angle the cosine is 1 in double: from squares, the columns would be dependent.
  BlockQr<2> narrow;
  narrow.add({1.0, 1.0}, 0.0, 1.0);
  narrow.add({0.0, 1e-10}, 0.0, 1.0);
  EXPECT_NEAR(condition_number<2>(narrow.triangle()), 2e10, 1e5);
}

TEST(BlockQr, AnEmptyColumnHasNoCondition) {
  std::mt19937 random(4);
  std::vector<WeightedRow> rows = random_rows(random, 12, 1.0);
  for (WeightedRow& row : rows) {
    row.values[2] = 0.0;
  }
  EXPECT_EQ(condition_number<kUnknowns>(triangle_of(rows)),
            std::numeric_limits<double>::infinity());
  EXPECT_LT(condition_number<2>(triangle_of(rows)), 100.0);
}

}  // namespace
}  // namespace cpp_chunk
