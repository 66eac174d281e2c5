#include "cpp_chunk/latency_model.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

#include "cpp_chunk/error.h"

namespace cpp_chunk {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

const LatencyModel& example() {
  static const LatencyModel model(
      {.quadratic = 2.0, .cross = 3.0, .linear = 5.0, .context = 7.0, .constant = 11.0});
  return model;
}

TEST(LatencyModel, StepByHand) {
  const std::array<Chunk, 2> chunks = {Chunk{.num_tokens = 4, .num_computed_tokens = 10},
                                       Chunk{.num_tokens = 6, .num_computed_tokens = 100}};
  // 2*(8+18) + 3*(40+600) + 5*10 + 7*110 + 11
  EXPECT_DOUBLE_EQ(example().step_ms(chunks), 52.0 + 1920.0 + 50.0 + 770.0 + 11.0);
}

TEST(LatencyModel, OneConstantAStep) {
  EXPECT_DOUBLE_EQ(example().step_ms(std::span<const Chunk>{}), 11.0);
}

TEST(LatencyModel, RefusesBadCoefficients) {
  EXPECT_THROW(LatencyModel({.quadratic = -1.0}), InvalidArgument);
  EXPECT_THROW(LatencyModel({.cross = kNan}), InvalidArgument);
  EXPECT_THROW(LatencyModel({.linear = kInfinity}), InvalidArgument);
  EXPECT_THROW(LatencyModel({.context = -kInfinity}), InvalidArgument);
  EXPECT_THROW(LatencyModel({.constant = -1e-300}), InvalidArgument);
}

TEST(LatencyModel, ErrorNamesTheCoefficientAndItsValue) {
  try {
    const LatencyModel model({.context = -0.5});
    FAIL() << "no error for " << model.coefficients().context;
  } catch (const InvalidArgument& error) {
    EXPECT_NE(std::string(error.what()).find("context"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("-0.5"), std::string::npos);
  }
}

TEST(LatencyModel, RefusesNegativeTokens) {
  const std::array<Chunk, 1> chunks = {Chunk{.num_tokens = -1, .num_computed_tokens = 0}};
  EXPECT_THROW((void)example().step_ms(chunks), InvalidArgument);
}

TEST(LatencyModel, ScaledInAllItsCosts) {
  const std::array<Chunk, 1> chunks = {Chunk{.num_tokens = 4, .num_computed_tokens = 10}};
  EXPECT_DOUBLE_EQ(example().scaled(1.5).step_ms(chunks), 1.5 * example().step_ms(chunks));
  EXPECT_EQ(example().scaled(0.0), LatencyModel());
  for (const double factor : {-1.0, kNan, kInfinity}) {
    EXPECT_THROW((void)example().scaled(factor), InvalidArgument);
  }
  EXPECT_THROW((void)example().scaled(1e308), InvalidArgument);  // beyond what a double holds
}

TEST(LatencyModel, OverheadIsPaidOnceAStep) {
  const std::array<Chunk, 2> chunks = {Chunk{.num_tokens = 4, .num_computed_tokens = 10},
                                       Chunk{.num_tokens = 6, .num_computed_tokens = 100}};
  EXPECT_DOUBLE_EQ(example().with_overhead(17.5).step_ms(chunks), example().step_ms(chunks) + 17.5);
  for (const double overhead_ms : {-1.0, kNan, kInfinity}) {
    EXPECT_THROW((void)example().with_overhead(overhead_ms), InvalidArgument);
  }
}

TEST(TokensWithin, InvertsTheCostOfOneChunk) {
  for (const double history : {0.0, 1.0, 1000.0, 1e7}) {
    for (const double num_tokens : {1e-3, 1.0, 100.0, 1e7}) {
      const LatencyModel model(
          {.quadratic = 6.5e-7, .cross = 6.5e-7, .linear = 6e-3, .context = 5e-4});
      const double cost = model.chunks_ms({.half_square_sum = 0.5 * num_tokens * num_tokens,
                                           .cross_sum = num_tokens * history,
                                           .token_sum = num_tokens,
                                           .context_sum = history});
      EXPECT_NEAR(model.tokens_within(cost, history) / num_tokens, 1.0, 1e-7);
    }
  }
}

TEST(TokensWithin, TinyQuadraticIsStable) {
  // The textbook root loses all digits here: 1 - sqrt(1 + 1e-20).
  const LatencyModel model({.quadratic = 1e-20, .linear = 1.0});
  EXPECT_NEAR(model.tokens_within(100.0, 0.0), 100.0, 1e-12);
}

TEST(TokensWithin, DegeneratesCleanly) {
  EXPECT_DOUBLE_EQ(LatencyModel({.quadratic = 2.0}).tokens_within(9.0, 5.0), 3.0);
  EXPECT_DOUBLE_EQ(LatencyModel({.cross = 2.0}).tokens_within(20.0, 5.0), 2.0);
  EXPECT_EQ(LatencyModel({.cross = 2.0}).tokens_within(20.0, 0.0), kInfinity);
  EXPECT_DOUBLE_EQ(LatencyModel({.linear = 4.0}).tokens_within(20.0, 5.0), 5.0);
  EXPECT_EQ(LatencyModel({.constant = 4.0}).tokens_within(0.0, 5.0), kInfinity);
  EXPECT_EQ(LatencyModel({.constant = 4.0}).tokens_within(-1.0, 5.0), 0.0);
  EXPECT_EQ(LatencyModel({.context = 1.0}).tokens_within(4.0, 5.0), 0.0);
  EXPECT_EQ(LatencyModel({.context = 1.0}).tokens_within(5.0, 5.0), kInfinity);
}

TEST(TokensWithin, AnyBudgetHasAnAnswer) {
  EXPECT_EQ(example().tokens_within(kNan, 0.0), 0.0);
  EXPECT_EQ(example().tokens_within(-kInfinity, 0.0), 0.0);
  EXPECT_EQ(example().tokens_within(0.0, 0.0), 0.0);
  EXPECT_EQ(example().tokens_within(kInfinity, 1e12), kInfinity);
  const LatencyModel huge(
      {.quadratic = 1e308, .cross = 1e308, .linear = 1e308, .context = 1e308, .constant = 1e308});
  for (const double budget_ms : {0.0, 1.0, 1e308, kInfinity}) {
    for (const double history : {0.0, 1.0, 1e12}) {
      EXPECT_FALSE(std::isnan(huge.tokens_within(budget_ms, history)));
    }
  }
}

TEST(TokensWithin, NeverGrowsWithHistory) {
  const LatencyModel model({.quadratic = 1e-6, .cross = 9e-7, .linear = 6e-3, .context = 1e-5});
  double previous = model.tokens_within(500.0, 0.0);
  for (double history = 1.0; history < 1e8; history *= 1.5) {
    const double num_tokens = model.tokens_within(500.0, history);
    EXPECT_LE(num_tokens, previous);
    previous = num_tokens;
  }
  EXPECT_EQ(previous, 0.0);
}

}  // namespace
}  // namespace cpp_chunk
