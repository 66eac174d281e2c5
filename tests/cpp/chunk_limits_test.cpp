#include "cpp_chunk/chunk_limits.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>

#include "cpp_chunk/error.h"
#include "cpp_chunk/step.h"

namespace cpp_chunk {
namespace {

std::string wrong_field(const ChunkLimits& limits) {
  try {
    limits.check();
  } catch (const InvalidArgument& error) {
    return error.field();
  }
  return "";
}

TEST(ChunkLimits, TakeTheEndsOfTheirRanges) {
  EXPECT_EQ(wrong_field({.max_chunk_tokens = 1, .min_chunk_tokens = 0}), "");
  EXPECT_EQ(wrong_field({.max_chunk_tokens = kMaxTokens,
                         .min_chunk_tokens = kMaxTokens,
                         .alignment = kMaxTokens,
                         .preferred_multiples = {1, kMaxTokens},
                         .max_step_ms = std::numeric_limits<double>::denorm_min()}),
            "");
}

TEST(ChunkLimits, NameTheOneThatContradicts) {
  EXPECT_EQ(wrong_field({.max_chunk_tokens = 0}), "max_chunk_tokens");
  EXPECT_EQ(wrong_field({.max_chunk_tokens = kMaxTokens + 1}), "max_chunk_tokens");
  EXPECT_EQ(wrong_field({.max_chunk_tokens = 10, .min_chunk_tokens = 11}), "min_chunk_tokens");
  EXPECT_EQ(wrong_field({.max_chunk_tokens = 10, .min_chunk_tokens = -1}), "min_chunk_tokens");
  EXPECT_EQ(wrong_field({.max_chunk_tokens = 10, .alignment = 0}), "alignment");
  EXPECT_EQ(wrong_field({.max_chunk_tokens = 10, .alignment = 11}), "alignment");
  for (const std::int64_t multiple : {std::int64_t{0}, std::int64_t{-16}, kMaxTokens + 1}) {
    EXPECT_EQ(wrong_field({.max_chunk_tokens = 10, .preferred_multiples = {16, multiple}}),
              "preferred_multiples");
  }
  for (const double max_step_ms : {0.0, -1.0, std::nan("")}) {
    EXPECT_EQ(wrong_field({.max_chunk_tokens = 10, .max_step_ms = max_step_ms}), "max_step_ms");
  }
}

}  // namespace
}  // namespace cpp_chunk
