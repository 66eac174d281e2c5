#include "cpp_chunk/equal_share.h"

#include <gtest/gtest.h>

#include <cmath>

namespace cpp_chunk {
namespace {

constexpr Coefficients kLinear{.linear = 0.5, .constant = 100.0};

TEST(EqualShare, IsTheWholeRestWhereItFits) {
  EXPECT_EQ(equal_share_ms(kLinear, 20.0, 0.0, 10.0), 10.0);
  EXPECT_EQ(equal_share_ms(kLinear, 20.0, 0.0, 1e9), 10.0);
}

TEST(EqualShare, IsOfTheFewestStepsThatHoldTheRest) {
  // 10 ms of work: three steps of at most 4 ms.
  EXPECT_DOUBLE_EQ(equal_share_ms(kLinear, 20.0, 7.0, 4.0).value_or(0.0), 10.0 / 3.0);
  // An exact fit is not one step more.
  EXPECT_DOUBLE_EQ(equal_share_ms(kLinear, 20.0, 0.0, 10.0 / 7.0).value_or(0.0), 10.0 / 7.0);
}

TEST(EqualShare, CountsWhatEachStepRepeatsOfTheHistory) {
  // A step in the middle has 90 + 10 tokens before it, as the first has on average with the last.
  const Coefficients cost{.linear = 1.0, .context = 0.1};
  // Uncut: 20 * (1 - 0.05) + 0.1 * 100.
  EXPECT_DOUBLE_EQ(equal_share_ms(cost, 20.0, 90.0, 100.0).value_or(0.0), 29.0);
  // Cut in two: half of the tokens, all of the history.
  EXPECT_DOUBLE_EQ(equal_share_ms(cost, 20.0, 90.0, 20.0).value_or(0.0), 19.5);
}

TEST(EqualShare, DearQuadraticWorkShrinksWithEachCut) {
  const Coefficients cost{.quadratic = 1.0};
  // Of n steps each takes (20/n)^2 / 2.
  EXPECT_DOUBLE_EQ(equal_share_ms(cost, 20.0, 0.0, 50.0).value_or(0.0), 50.0);
  EXPECT_NEAR(equal_share_ms(cost, 20.0, 0.0, 49.0).value_or(0.0), 200.0 / 9.0, 1e-9);
}

TEST(EqualShare, IsOfOneStepWhereOnlyCutsCost) {
  // Alone the chunk has no history; behind each other, chunks would have some.
  EXPECT_EQ(equal_share_ms({.cross = 1.0}, 4.0, 0.0, 1.0), 0.0);
}

TEST(EqualShare, IsNothingWhereTheHistoryAloneIsTooMuch) {
  const Coefficients cost{.linear = 1.0, .context = 0.1};
  EXPECT_FALSE(equal_share_ms(cost, 20.0, 90.0, 10.0).has_value());
  EXPECT_FALSE(equal_share_ms(cost, 20.0, 90.0, std::nan("")).has_value());
  EXPECT_FALSE(equal_share_ms(kLinear, 20.0, 0.0, 0.0).has_value());
}

}  // namespace
}  // namespace cpp_chunk
