#include "cpp_chunk/chunk_grid.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace cpp_chunk {
namespace {

ChunkGrid grid(std::int64_t alignment, std::vector<std::int64_t> preferred_multiples = {},
               std::int64_t max_chunk_tokens = 4096) {
  return ChunkGrid({.max_chunk_tokens = max_chunk_tokens,
                    .alignment = alignment,
                    .preferred_multiples = std::move(preferred_multiples)});
}

TEST(ChunkGrid, ChunksEndOnTheAlignmentWhateverCameBefore) {
  const ChunkGrid aligned = grid(16);
  EXPECT_EQ(aligned.aligned_down(31, 0), 16);
  EXPECT_EQ(aligned.aligned_down(32, 0), 32);
  EXPECT_EQ(aligned.aligned_down(31, 5), 27);
  EXPECT_EQ(aligned.aligned_down(15, 0), 0);
  EXPECT_EQ(aligned.aligned_down(3, 5), -5);
}

TEST(ChunkGrid, AMultipleIsKeptWhereItIsASixteenthOfTheChunkAtMost) {
  const ChunkGrid preferring = grid(4, {16, 64});
  EXPECT_EQ(preferring.quantum_tokens(255.0, 0), 4);
  EXPECT_EQ(preferring.quantum_tokens(256.0, 0), 16);
  EXPECT_EQ(preferring.quantum_tokens(1023.0, 0), 16);
  EXPECT_EQ(preferring.quantum_tokens(1024.0, 0), 64);
}

TEST(ChunkGrid, AfterAnUnalignedHistoryTheAlignmentComesFirst) {
  EXPECT_EQ(grid(4, {16}).quantum_tokens(1024.0, 6), 4);
  EXPECT_EQ(grid(4, {16}).quantum_tokens(1024.0, 8), 16);
}

TEST(ChunkGrid, QuantaAreMultiplesOfAllBeforeThem) {
  // 12 with 8 gives 24; 3 is in 12 already.
  const ChunkGrid preferring = grid(12, {3, 8});
  EXPECT_EQ(preferring.quantum_tokens(4096.0, 0), 24);
}

TEST(ChunkGrid, NoQuantumIsAboveTheCap) {
  EXPECT_EQ(grid(8, {24}, 24).quantum_tokens(1e6, 0), 24);
  EXPECT_EQ(grid(8, {24}, 23).quantum_tokens(1e6, 0), 8);
}

TEST(ChunkGrid, RoundsDownToTheQuantum) {
  const ChunkGrid preferring = grid(4, {64});
  EXPECT_EQ(preferring.rounded_down(1030, 8, 64), 1024);
  EXPECT_EQ(preferring.rounded_down(1030, 8, 4), 1028);
  EXPECT_EQ(preferring.rounded_down(1030, 9, 4), 1027);
}

}  // namespace
}  // namespace cpp_chunk
