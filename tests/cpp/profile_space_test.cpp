#include "cpp_chunk/profile_space.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "cpp_chunk/error.h"

namespace cpp_chunk {
namespace {

ProfileSpace usual() {
  return {.smallest_chunk_tokens = 32,
          .max_chunk_tokens = 16384,
          .max_context_tokens = 131072,
          .alignment = 16};
}

TEST(ProfileSpace, RefusesASpaceWithoutRoom) {
  EXPECT_NO_THROW(check_space(usual()));
  EXPECT_NO_THROW(check_space({}));
  EXPECT_THROW(check_space({.smallest_chunk_tokens = 0}), InvalidArgument);
  EXPECT_THROW(check_space({.smallest_chunk_tokens = 2}), InvalidArgument);
  EXPECT_THROW(check_space({.max_chunk_tokens = 2}), InvalidArgument);
  EXPECT_THROW(check_space({.max_context_tokens = kMaxTokens + 1}), InvalidArgument);
  EXPECT_THROW(check_space({.alignment = 0}), InvalidArgument);
  EXPECT_THROW(check_space({.alignment = kMaxTokens + 1}), InvalidArgument);
  EXPECT_THROW(check_space({.longest_pass_ms = 0.0}), InvalidArgument);
  EXPECT_THROW(check_space({.longest_pass_ms = std::nan("")}), InvalidArgument);
}

TEST(ProfileSpace, ChunksAreAlignedWhereTheyCanBe) {
  EXPECT_EQ(chunk_at(usual(), 100.0, 0.0), (Chunk{96, 0}));
  EXPECT_EQ(chunk_at(usual(), 1.0, 0.5), (Chunk{32, 65520}));
  EXPECT_EQ(chunk_at(usual(), 1e9, 1.0), (Chunk{16384, 114688}));
  // No history at all would be a share of none: the first multiple.
  EXPECT_EQ(chunk_at(usual(), 32.0, 1e-9), (Chunk{32, 16}));
  const ProfileSpace unaligned{
      .smallest_chunk_tokens = 5, .max_chunk_tokens = 7, .max_context_tokens = 12, .alignment = 16};
  EXPECT_EQ(chunk_at(unaligned, 6.0, 1.0), (Chunk{6, 6}));
  EXPECT_EQ(chunk_at({}, 1.0, 1.0), (Chunk{1, 0}));
}

TEST(ProfileSpace, TheGridIsDistinctAndReachesAllEnds) {
  const std::vector<Chunk> grid = grid_of(usual());
  for (const Chunk& chunk : grid) {
    EXPECT_EQ(std::ranges::count(grid, chunk), 1);
    EXPECT_LE(chunk.num_tokens + chunk.num_computed_tokens, 131072);
  }
  for (const Chunk& end :
       {Chunk{32, 0}, Chunk{32, 131040}, Chunk{16384, 0}, Chunk{16384, 114688}}) {
    EXPECT_EQ(std::ranges::count(grid, end), 1);
  }
  // Nine doublings in steps of half a one; the first of them, 45 tokens, is aligned to 32 again.
  EXPECT_EQ(grid.size(), 18U * 7U);
  EXPECT_EQ(grid_of({}), (std::vector<Chunk>{{1, 0}}));
}

}  // namespace
}  // namespace cpp_chunk
