#include "cpp_chunk/step.h"

#include <gtest/gtest.h>

#include <array>
#include <limits>

namespace cpp_chunk {
namespace {

TEST(StepFeatures, SumsOverChunks) {
  const std::array<Chunk, 2> chunks = {Chunk{.num_tokens = 4, .num_computed_tokens = 10},
                                       Chunk{.num_tokens = 6, .num_computed_tokens = 100}};
  const StepFeatures features = StepFeatures::of(chunks);
  EXPECT_DOUBLE_EQ(features.half_square_sum, 8.0 + 18.0);
  EXPECT_DOUBLE_EQ(features.cross_sum, 40.0 + 600.0);
  EXPECT_DOUBLE_EQ(features.token_sum, 10.0);
  EXPECT_DOUBLE_EQ(features.context_sum, 110.0);
}

TEST(StepFeatures, OfOneChunkAreThoseOfAStepOfIt) {
  const std::array<Chunk, 1> chunks = {Chunk{.num_tokens = 4, .num_computed_tokens = 10}};
  const StepFeatures features = StepFeatures::of(chunks[0]);
  const StepFeatures expected = StepFeatures::of(chunks);
  EXPECT_EQ(features.half_square_sum, expected.half_square_sum);
  EXPECT_EQ(features.cross_sum, expected.cross_sum);
  EXPECT_EQ(features.token_sum, 4.0);
  EXPECT_EQ(features.context_sum, 10.0);
}

TEST(StepFeatures, TenMillionTokensDoNotOverflow) {
  StepFeatures features;
  features.add({.num_tokens = 10'000'000, .num_computed_tokens = 10'000'000});
  EXPECT_DOUBLE_EQ(features.half_square_sum, 5e13);
  EXPECT_DOUBLE_EQ(features.cross_sum, 1e14);
}

TEST(StepFeatures, TheLargestCountsDoNotOverflow) {
  StepFeatures features;
  features.add({.num_tokens = kMaxTokens, .num_computed_tokens = kMaxTokens});
  EXPECT_DOUBLE_EQ(features.cross_sum, 1e24);
}

TEST(Chunk, EqualWhereBothCountsAre) {
  EXPECT_EQ((Chunk{.num_tokens = 1, .num_computed_tokens = 2}),
            (Chunk{.num_tokens = 1, .num_computed_tokens = 2}));
  EXPECT_NE((Chunk{.num_tokens = 1, .num_computed_tokens = 2}),
            (Chunk{.num_tokens = 1, .num_computed_tokens = 3}));
  EXPECT_NE((Chunk{.num_tokens = 1, .num_computed_tokens = 2}),
            (Chunk{.num_tokens = 2, .num_computed_tokens = 2}));
}

TEST(Chunk, ValidCounts) {
  EXPECT_TRUE(is_valid(Chunk{.num_tokens = 0, .num_computed_tokens = 0}));
  EXPECT_TRUE(is_valid(Chunk{.num_tokens = kMaxTokens, .num_computed_tokens = kMaxTokens}));
  EXPECT_FALSE(is_valid(Chunk{.num_tokens = -1, .num_computed_tokens = 0}));
  EXPECT_FALSE(is_valid(Chunk{.num_tokens = 1, .num_computed_tokens = -1}));
  EXPECT_FALSE(is_valid(
      Chunk{.num_tokens = std::numeric_limits<std::int64_t>::max(), .num_computed_tokens = 0}));
}

}  // namespace
}  // namespace cpp_chunk
