#include "cpp_chunk/robust.h"

#include <gtest/gtest.h>

namespace cpp_chunk {
namespace {

TEST(Robust, NoiseIsGrantedAtLeastTwoPerCent) {
  EXPECT_EQ(robust_sigma(0.0), 0.02);
  EXPECT_EQ(robust_sigma(0.013), 0.02);
  EXPECT_DOUBLE_EQ(robust_sigma(0.1), 0.14826);
}

TEST(Robust, BisquareFallsFromOneToNothing) {
  EXPECT_EQ(bisquare_weight(0.0, 0.02), 1.0);
  EXPECT_DOUBLE_EQ(bisquare_weight(0.5 * 4.685 * 0.02, 0.02), 0.5625);
  EXPECT_EQ(bisquare_weight(-0.04, 0.02), bisquare_weight(0.04, 0.02));
  EXPECT_GT(bisquare_weight(4.68 * 0.02, 0.02), 0.0);
  EXPECT_EQ(bisquare_weight(4.69 * 0.02, 0.02), 0.0);
  EXPECT_EQ(bisquare_weight(20.0, 0.02), 0.0);
}

}  // namespace
}  // namespace cpp_chunk
