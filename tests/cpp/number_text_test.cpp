#include "cpp_chunk/number_text.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace cpp_chunk {
namespace {

TEST(Shown, ReadsBackAsTheSame) {
  EXPECT_EQ(shown(0.1), "0.1");
  EXPECT_EQ(shown(131072.0), "131072");
  EXPECT_EQ(shown(-1e-9), "-1e-09");
  EXPECT_EQ(shown(1.0 + 1e-9), "1.000000001");
  EXPECT_EQ(shown(std::numeric_limits<double>::infinity()), "inf");
  EXPECT_EQ(shown(std::numeric_limits<double>::quiet_NaN()), "nan");
  // The longest that there are.
  EXPECT_EQ(std::stod(shown(-std::numeric_limits<double>::max())),
            -std::numeric_limits<double>::max());
  EXPECT_EQ(shown(-2.2250738585072014e-308), "-2.2250738585072014e-308");
}

TEST(Rounded, HasFourDigits) {
  EXPECT_EQ(rounded(2.0 / 3.0), "0.6667");
  EXPECT_EQ(rounded(123456789.0), "1.235e+08");
}

}  // namespace
}  // namespace cpp_chunk
