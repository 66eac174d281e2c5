#include "cpp_chunk/chunk_solver.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "cpp_chunk/error.h"

namespace cpp_chunk {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr std::int64_t kFar = 10'000'000;

ChunkLimits limits(std::int64_t cap, std::int64_t floor = 1, std::int64_t alignment = 1) {
  return {.max_chunk_tokens = cap, .min_chunk_tokens = floor, .alignment = alignment};
}

std::vector<std::int64_t> greedy(ChunkSolver& solver, double target_ms, std::int64_t num_tokens) {
  std::vector<std::int64_t> chunks;
  std::int64_t done = 0;
  while (done < num_tokens) {
    solver.begin_step(target_ms);
    const std::int64_t chunk = solver.chunk_tokens(num_tokens - done, done, kFar);
    EXPECT_GT(chunk, 0);
    if (chunk <= 0) {
      break;
    }
    chunks.push_back(chunk);
    done += chunk;
  }
  return chunks;
}

TEST(ChunkSolver, LinearModelByHand) {
  ChunkSolver solver(LatencyModel({.linear = 0.5, .constant = 10.0}), limits(kFar));
  // (60 - 10) / 0.5 = 100 tokens a step, 1000 tokens: ten of them
  EXPECT_EQ(greedy(solver, 60.0, 1000), std::vector<std::int64_t>(10, 100));
}

TEST(ChunkSolver, ShareOutLeavesNoTinyTail) {
  ChunkSolver solver(LatencyModel({.linear = 0.5, .constant = 10.0}), limits(kFar));
  // 1010 tokens do not fit ten steps of 100, so they are eleven equal ones
  const std::vector<std::int64_t> chunks = greedy(solver, 60.0, 1010);
  ASSERT_EQ(chunks.size(), 11U);
  for (const std::int64_t chunk : chunks) {
    EXPECT_NEAR(static_cast<double>(chunk), 1010.0 / 11.0, 1.0);
  }
}

TEST(ChunkSolver, EqualTimesNotEqualSizes) {
  const LatencyModel model({.quadratic = 1e-4, .cross = 1e-4, .linear = 0.05, .constant = 8.0});
  ChunkSolver solver(model, limits(kFar));
  const std::vector<std::int64_t> chunks = greedy(solver, 500.0, 16384);
  std::int64_t done = 0;
  double shortest = kInfinity;
  double longest = 0.0;
  for (const std::int64_t chunk : chunks) {
    StepFeatures features;
    features.add({.num_tokens = chunk, .num_computed_tokens = done});
    shortest = std::min(shortest, model.step_ms(features));
    longest = std::max(longest, model.step_ms(features));
    done += chunk;
  }
  EXPECT_LE(longest, 505.0);
  EXPECT_GT(shortest, 0.98 * longest);
  EXPECT_GT(chunks.front(), 3 * chunks.back());
}

TEST(ChunkSolver, AlignsTheEndOfTheChunk) {
  ChunkSolver solver(LatencyModel({.linear = 1.0}), limits(1024, 1, 16));
  solver.begin_step(100.0);
  EXPECT_EQ(solver.chunk_tokens(kFar, 0, kFar), 96);
  EXPECT_EQ(solver.chunk_tokens(kFar, 5, kFar) % 16, 11);  // ends on a multiple
  EXPECT_EQ(solver.chunk_tokens(90, 0, kFar), 90);         // but the last
}

TEST(ChunkSolver, EverythingCounts) {
  ChunkSolver solver(
      LatencyModel(
          {.quadratic = 2.0, .cross = 3.0, .linear = 5.0, .context = 7.0, .constant = 11.0}),
      limits(kFar));
  solver.begin_step(1e6);
  EXPECT_DOUBLE_EQ(solver.step_ms(), 11.0);
  solver.add_chunk({.num_tokens = 4, .num_computed_tokens = 10});
  EXPECT_DOUBLE_EQ(solver.step_ms(), 11.0 + 16.0 + 120.0 + 20.0 + 70.0);
  solver.add_chunk({.num_tokens = 0, .num_computed_tokens = 10});
  EXPECT_DOUBLE_EQ(solver.step_ms(), 11.0 + 16.0 + 120.0 + 20.0 + 70.0);
}

TEST(ChunkSolver, BudgetIsWhatTheStepLeaves) {
  ChunkSolver solver(LatencyModel({.linear = 1.0, .constant = 10.0}), limits(kFar));
  solver.begin_step(110.0);
  solver.add_chunk({.num_tokens = 60, .num_computed_tokens = 0});
  EXPECT_EQ(solver.chunk_tokens(1'000'000, 0, kFar), 40);
  solver.add_chunk({.num_tokens = 40, .num_computed_tokens = 0});
  EXPECT_EQ(solver.chunk_tokens(1'000'000, 0, kFar), 0);
}

TEST(ChunkSolver, DecodesDoNotStarveThePrefill) {
  ChunkSolver solver(LatencyModel({.linear = 1.0, .constant = 10.0}), limits(1024, 512, 16));
  solver.begin_step(20.0);
  for (int i = 0; i < 200; ++i) {
    solver.add_chunk({.num_tokens = 1, .num_computed_tokens = 1000});
  }
  // One alignment step, and not min_chunk_tokens: that is a floor for empty steps.
  EXPECT_EQ(solver.chunk_tokens(kFar, 0, kFar), 16);
  solver.add_chunk({.num_tokens = 16, .num_computed_tokens = 0});
  EXPECT_EQ(solver.chunk_tokens(kFar, 0, kFar), 0);
}

TEST(ChunkSolver, AnEmptyStepAlwaysMoves) {
  const LatencyModel dear({.quadratic = 1.0, .cross = 1.0, .linear = 1e3, .context = 1e3});
  ChunkSolver solver(dear, limits(1024, 0, 16));
  solver.begin_step(0.0);
  EXPECT_EQ(solver.chunk_tokens(kFar, 1'000'000, kFar), 16);
  EXPECT_EQ(solver.chunk_tokens(kFar, 0, 3), 3);  // the engine's own cap is below the alignment
  EXPECT_EQ(solver.chunk_tokens(1, 0, kFar), 1);
  ChunkSolver unaligned(dear, limits(1024, 0));
  unaligned.begin_step(0.0);
  EXPECT_EQ(unaligned.chunk_tokens(kFar, 1'000'000, kFar), 1);
  EXPECT_EQ(solver.chunk_tokens(0, 0, kFar), 0);
  EXPECT_EQ(solver.chunk_tokens(kFar, 0, 0), 0);
}

// For most of the prompts that have begun a scheduler gets a quick 0: it must be the right answer.
TEST(ChunkSolver, ABegunStepTakesNothingBelowAnAlignmentStep) {
  const LatencyModel model({.quadratic = 6.5e-7,
                            .cross = 6.5e-7,
                            .linear = 6.03e-3,
                            .context = 5.39e-4,
                            .constant = 43.6});
  constexpr std::int64_t kAlignment = 128;
  const Chunk first{.num_tokens = 1024, .num_computed_tokens = 0};
  ChunkSolver solver(model, limits(8192, 256, kAlignment));
  for (const std::int64_t history : {std::int64_t{0}, 8 * kAlignment, 4000 * kAlignment}) {
    for (const double share : {-1.0, 0.0, 0.3, 0.49, 0.51, 0.99, 1.01, 1.49, 2.01}) {
      // Room for this share of an alignment step of the next prompt.
      const double room_tokens = share * static_cast<double>(kAlignment);
      const auto depth = static_cast<double>(history);
      const double room_ms = 0.5 * 6.5e-7 * room_tokens * room_tokens +
                             (6.5e-7 * depth + 6.03e-3) * room_tokens + 5.39e-4 * depth;
      solver.begin_step(model.step_ms(std::span(&first, 1)) + room_ms);
      solver.add_chunk(first);
      // The rest is long: its share of a step is what fills it, not what remains.
      const std::int64_t chunk = solver.chunk_tokens(1'000'000, history, 8192);
      EXPECT_EQ(chunk % kAlignment, 0);
      const auto whole_steps = static_cast<std::int64_t>(std::max(0.0, share));
      EXPECT_GE(chunk / kAlignment, whole_steps) << history << " " << share;
      EXPECT_LE(chunk / kAlignment, share > 0.5 ? whole_steps + 1 : 0) << history << " " << share;
      // What ends a prompt needs no alignment step.
      if (share > 0.3) {
        EXPECT_EQ(solver.chunk_tokens(16, history, 8192), 16);
      }
    }
  }
}

TEST(ChunkSolver, ThePrefillOfTwoTokensMovesAPromptOn) {
  ChunkSolver solver(LatencyModel({.linear = 1.0}), limits(kFar));
  solver.begin_step(0.0);
  solver.add_chunk({.num_tokens = 2, .num_computed_tokens = 0});
  EXPECT_EQ(solver.chunk_tokens(kFar, 0, kFar), 0);
}

TEST(ChunkSolver, AFullStepTakesNothingFromAnUnalignedHistory) {
  ChunkSolver solver(LatencyModel({.linear = 1.0, .constant = 1.0}), limits(64, 0, 16));
  solver.begin_step(10.0);
  solver.add_chunk({.num_tokens = 20, .num_computed_tokens = 0});
  EXPECT_EQ(solver.chunk_tokens(1000, 5, kFar), 0);
}

TEST(ChunkSolver, FewTokensUpToTheAlignmentFitIntoLittleRoom) {
  ChunkSolver solver(LatencyModel({.linear = 1.0}), limits(kFar, 1, 16));
  solver.begin_step(105.0);
  solver.add_chunk({.num_tokens = 100, .num_computed_tokens = 0});
  EXPECT_EQ(solver.chunk_tokens(1000, 12, kFar), 4);
}

TEST(ChunkSolver, FloorHoldsInAnEmptyStep) {
  ChunkSolver solver(LatencyModel({.linear = 1.0}), limits(1024, 100, 16));
  solver.begin_step(10.0);
  EXPECT_EQ(solver.chunk_tokens(kFar, 0, kFar), 112);
}

TEST(ChunkSolver, CapsHold) {
  ChunkSolver solver(LatencyModel({.linear = 1.0}), limits(1000));
  solver.begin_step(kInfinity);
  EXPECT_EQ(solver.chunk_tokens(kFar, 0, kFar), 1000);
  EXPECT_EQ(solver.chunk_tokens(kFar, 0, 700), 700);
  EXPECT_EQ(solver.chunk_tokens(300, 0, 700), 300);
}

TEST(ChunkSolver, FreeTokensMeanTheCap) {
  ChunkSolver solver(LatencyModel({.constant = 5.0}), limits(1000));
  solver.begin_step(5.0);
  EXPECT_EQ(solver.chunk_tokens(kFar, 0, kFar), 1000);
}

TEST(ChunkSolver, SmoothFactor) {
  const LatencyModel model({.linear = 1.0});
  ChunkSolver fixed(model, limits(1000), 0.0, 64);
  fixed.begin_step(500.0);
  EXPECT_EQ(fixed.chunk_tokens(kFar, 123'456, kFar), 64);
  EXPECT_EQ(fixed.chunk_tokens(10, 0, kFar), 10);
  // Whatever else is in the step: as an engine fills it without us.
  fixed.add_chunk({.num_tokens = 600, .num_computed_tokens = 0});
  EXPECT_EQ(fixed.chunk_tokens(kFar, 0, kFar), 64);
  EXPECT_EQ(fixed.chunk_tokens(kFar, 0, 40), 40);

  ChunkSolver half(model, limits(1000), 0.5, 100);
  half.begin_step(300.0);
  EXPECT_EQ(half.chunk_tokens(300'000, 0, kFar), 200);
  half.add_chunk(
      {.num_tokens = 2, .num_computed_tokens = 0});  // a step in use is filled by its budget
  EXPECT_EQ(half.chunk_tokens(300'000, 0, kFar), 298);
}

TEST(ChunkSolver, AStepCanBeAimedAnew) {
  ChunkSolver solver(LatencyModel({.linear = 1.0}), limits(kFar));
  solver.begin_step(50.0);
  solver.add_chunk({.num_tokens = 30, .num_computed_tokens = 0});
  EXPECT_EQ(solver.chunk_tokens(1'000'000, 0, kFar), 20);
  solver.set_target(100.0);
  EXPECT_EQ(solver.chunk_tokens(1'000'000, 0, kFar), 70);
  EXPECT_THROW(solver.set_target(-1.0), InvalidArgument);
}

TEST(ChunkSolver, TailIsAtLeastHalf) {
  for (const double cross : {0.5e-4, 1e-4, 2e-4}) {
    const LatencyModel model({.quadratic = 1e-4, .cross = cross, .linear = 1e-3, .constant = 1.0});
    ChunkSolver solver(model, limits(8192));
    for (double target_ms = 2.0; target_ms < 6000.0; target_ms *= 1.07) {
      const std::vector<std::int64_t> chunks = greedy(solver, target_ms, 5000);
      if (chunks.size() > 1) {
        EXPECT_GE(2 * chunks.back() + 1, chunks[chunks.size() - 2]) << target_ms << " " << cross;
      }
    }
  }
}

TEST(ChunkSolver, TheEndOfAPromptMayGoALittleOverTheTarget) {
  // By an alignment step,
  ChunkSolver fine(LatencyModel({.linear = 1.0}), limits(kFar, 1, 16));
  fine.begin_step(1000.0);
  EXPECT_EQ(fine.chunk_tokens(1016, 0, kFar), 1016);
  EXPECT_EQ(fine.chunk_tokens(1017, 0, kFar), 512);
  // or where these are coarse by a quarter of the budget.
  ChunkSolver coarse(LatencyModel({.linear = 1.0}), limits(kFar, 1, 500));
  coarse.begin_step(1000.0);
  EXPECT_EQ(coarse.chunk_tokens(1250, 0, kFar), 1250);
  EXPECT_EQ(coarse.chunk_tokens(1260, 0, kFar), 500);
}

TEST(ChunkSolver, TheEndOfAPromptMayGoALittleOverWhatOthersLeave) {
  ChunkSolver solver(LatencyModel({.linear = 1.0}), limits(kFar, 1, 16));
  solver.begin_step(1000.0);
  solver.add_chunk({.num_tokens = 200, .num_computed_tokens = 0});
  EXPECT_EQ(solver.chunk_tokens(816, 0, kFar), 816);
}

TEST(ChunkSolver, TheFloorIsStretchedByAQuarterAtMost) {
  ChunkSolver solver(LatencyModel({.linear = 1.0}), limits(kFar, 1000));
  solver.begin_step(100.0);
  EXPECT_EQ(solver.chunk_tokens(1250, 0, kFar), 1250);
  // The floor goes before a last chunk of half.
  EXPECT_EQ(solver.chunk_tokens(1260, 0, kFar), 1000);
}

TEST(ChunkSolver, BelowTheFloorTheAlignmentHoldsStill) {
  ChunkSolver solver(LatencyModel({.linear = 1.0}), limits(kFar, 128, 64));
  solver.begin_step(10.0);
  EXPECT_EQ(solver.chunk_tokens(kFar, 0, 100), 64);
  // Also where only one token is left before it, and not where none is.
  solver.begin_step(10.0, Rest::as_it_falls);
  EXPECT_EQ(solver.chunk_tokens(kFar, 63, 50), 1);
  EXPECT_EQ(solver.chunk_tokens(kFar, 0, 50), 50);
}

TEST(ChunkSolver, ASmallRestGoesWithASmoothedChunk) {
  ChunkSolver solver(LatencyModel({.linear = 1.0}), limits(kFar, 1, 50), 0.5, 1000);
  solver.begin_step(200.0);
  // Half way from 155 tokens, a quarter of the prompt, to 1000: 577, which is near 600.
  EXPECT_EQ(solver.chunk_tokens(620, 0, kFar), 620);
}

TEST(ChunkSolver, ALastChunkOfHalfMayTakeTheOneBeforeItToTheFloor) {
  ChunkSolver solver(LatencyModel({.linear = 1.0}), limits(kFar, 1000), 0.5, 1300);
  solver.begin_step(750.0);
  // Half way from 750 to 1300 would leave 475.
  EXPECT_EQ(solver.chunk_tokens(1500, 0, kFar), 1000);
}

TEST(ChunkSolver, OtherPrefillsLeaveTheStepsToComeWhole) {
  ChunkSolver solver(LatencyModel({.linear = 1.0, .constant = 10.0}), limits(kFar));
  // 40 ms are left. Behind a prefill, all of them: the next step has 100 ms for what remains.
  solver.begin_step(110.0);
  solver.add_chunk({.num_tokens = 60, .num_computed_tokens = 0});
  EXPECT_EQ(solver.chunk_tokens(130, 0, kFar), 40);
  // Two equal steps of what a step has for them: one that takes all would be too long.
  solver.begin_step(110.0);
  solver.add_chunk({.num_tokens = 20, .num_computed_tokens = 0});
  EXPECT_EQ(solver.chunk_tokens(110, 0, kFar), 55);
  // Behind decodes a fourth of the rest: they are in the next steps too.
  solver.begin_step(110.0);
  solver.add_decodes(60, 0);
  EXPECT_EQ(solver.chunk_tokens(130, 0, kFar), 33);
}

TEST(ChunkSolver, AShareIsRoundedToTheNearestAlignmentStepInABegunStepToo) {
  ChunkSolver solver(LatencyModel({.linear = 1.0}), limits(kFar, 1, 100));
  solver.begin_step(130.0);
  solver.add_chunk({.num_tokens = 60, .num_computed_tokens = 0});
  // Two equal steps of 67.5 tokens, and room for 70.
  EXPECT_EQ(solver.chunk_tokens(135, 0, kFar), 100);
}

TEST(ChunkSolver, PrefersMultiplesThatAreSmallBesideAChunk) {
  // 0.1 ms a token: a budget of 100 ms is 1000 tokens.
  const LatencyModel model({.linear = 0.1});
  const auto chunk = [&](const std::vector<std::int64_t>& multiples, double target_ms,
                         std::int64_t history) {
    ChunkLimits preferring = limits(100'000, 1, 16);
    preferring.preferred_multiples = multiples;
    ChunkSolver solver(model, preferring);
    solver.begin_step(target_ms, Rest::as_it_falls);
    return solver.chunk_tokens(kFar, history, kFar);
  };
  EXPECT_EQ(chunk({}, 100.0, 0), 992);
  EXPECT_EQ(chunk({48}, 100.0, 0), 960);          // 48 <= 1000/16: 20 of them
  EXPECT_EQ(chunk({64}, 100.0, 0), 992);          // 64 > 1000/16
  EXPECT_EQ(chunk({64}, 1000.0, 0), 9984);        // 156 of them
  EXPECT_EQ(chunk({48, 64}, 1000.0, 0), 9984);    // 192 is their least common multiple: 52
  EXPECT_EQ(chunk({64, 4096}, 1000.0, 0), 9984);  // only the first is small
  // The chunk's own size, wherever it begins: but an end on the alignment comes first.
  EXPECT_EQ(chunk({64}, 1000.0, 16), 9984);
  EXPECT_EQ((chunk({64}, 1000.0, 5) + 5) % 16, 0);
  // Multiples that a chunk can never reach are left out.
  EXPECT_EQ(chunk({1'000'000'000'000}, 100.0, 0), 992);
  EXPECT_EQ(chunk({1, 16}, 100.0, 0), 992);
}

TEST(ChunkSolver, MultiplesAreSmallBesideWhatTheCapsLeave) {
  // The budget would take 100'000 tokens and more, the engine admits fewer.
  ChunkLimits preferring = limits(8192, 1, 16);
  preferring.preferred_multiples = {5008};
  ChunkSolver solver(LatencyModel({.linear = 0.1}), preferring);
  for (const Rest rest : {Rest::shared_out, Rest::as_it_falls}) {
    solver.begin_step(1e6, rest);
    EXPECT_EQ(solver.chunk_tokens(kFar, 0, kFar), 8192);
    EXPECT_EQ(solver.chunk_tokens(kFar, 0, 1000), 992);
  }
}

TEST(ChunkSolver, AFloorThatMaxStepForbidsLeavesNoTinyTail) {
  ChunkLimits bounded = limits(1024, 512, 1);
  bounded.max_step_ms = 110.0;
  ChunkSolver solver(LatencyModel({.linear = 1.0, .constant = 10.0}), bounded);
  solver.begin_step(500.0);
  EXPECT_EQ(solver.chunk_tokens(120, 0, kFar), 80);
}

TEST(ChunkSolver, ManyDecodesAtOnce) {
  const LatencyModel model(
      {.quadratic = 2.0, .cross = 3.0, .linear = 5.0, .context = 7.0, .constant = 11.0});
  ChunkSolver one_by_one(model, limits(kFar));
  ChunkSolver at_once(model, limits(kFar));
  one_by_one.begin_step(1e6);
  at_once.begin_step(1e6);
  for (const std::int64_t history : {10, 200, 3000}) {
    one_by_one.add_chunk({.num_tokens = 1, .num_computed_tokens = history});
  }
  at_once.add_decodes(3, 3210);
  EXPECT_DOUBLE_EQ(at_once.step_ms(), one_by_one.step_ms());
  EXPECT_EQ(at_once.chunk_tokens(kFar, 0, kFar), one_by_one.chunk_tokens(kFar, 0, kFar));
  EXPECT_THROW(at_once.add_decodes(-1, 0), InvalidArgument);
  EXPECT_THROW(at_once.add_decodes(0, -1), InvalidArgument);
}

TEST(ChunkSolver, SharesAreRoundedToPreferredMultiples) {
  ChunkLimits preferring = limits(100'000, 1, 16);
  preferring.preferred_multiples = {64};
  ChunkSolver solver(LatencyModel({.linear = 0.1, .constant = 1.0}), preferring);
  const std::vector<std::int64_t> chunks = greedy(solver, 501.0, 32'000);
  EXPECT_EQ(chunks.size(), 7U);
  for (std::size_t i = 0; i + 1 < chunks.size(); ++i) {
    EXPECT_EQ(chunks[i] % 64, 0);
    EXPECT_NEAR(static_cast<double>(chunks[i]), 32'000.0 / 7.0, 64.0);
  }
}

TEST(ChunkSolver, MaxStepIsAHardBound) {
  const LatencyModel model({.linear = 1.0, .constant = 10.0});
  ChunkLimits bounded = limits(1024, 512, 16);
  bounded.max_step_ms = 110.0;
  ChunkSolver solver(model, bounded);
  // Neither the floor, nor the target, nor the end of the prompt goes beyond it.
  solver.begin_step(500.0);
  EXPECT_EQ(solver.chunk_tokens(kFar, 0, kFar), 96);
  EXPECT_EQ(solver.chunk_tokens(101, 0, kFar), 64);  // two thirds, then the rest
  EXPECT_EQ(solver.chunk_tokens(100, 0, kFar), 100);
  // Decodes count.
  for (int decode = 0; decode < 50; ++decode) {
    solver.add_chunk({.num_tokens = 1, .num_computed_tokens = 0});
  }
  EXPECT_EQ(solver.chunk_tokens(kFar, 0, kFar), 48);
}

TEST(ChunkSolver, MaxStepLeavesOneAlignmentStepOnly) {
  const LatencyModel model({.linear = 1.0, .constant = 10.0});
  ChunkLimits bounded = limits(1024, 512, 16);
  bounded.max_step_ms = 15.0;
  ChunkSolver solver(model, bounded);
  solver.begin_step(500.0);
  EXPECT_EQ(solver.chunk_tokens(kFar, 0, kFar), 16);
  EXPECT_EQ(solver.chunk_tokens(kFar, 5, kFar), 11);  // to the alignment
  EXPECT_EQ(solver.chunk_tokens(5, 0, kFar), 5);
  for (int decode = 0; decode < 100; ++decode) {
    solver.add_chunk({.num_tokens = 1, .num_computed_tokens = 0});
  }
  EXPECT_EQ(solver.chunk_tokens(kFar, 0, kFar), 16);  // decodes do not starve a prompt
  solver.add_chunk({.num_tokens = 16, .num_computed_tokens = 0});
  EXPECT_EQ(solver.chunk_tokens(kFar, 0, kFar), 0);  // but it has had its chunk now
}

TEST(ChunkSolver, MaxStepBoundsFixedChunksToo) {
  ChunkLimits bounded = limits(1024, 1, 16);
  bounded.max_step_ms = 110.0;
  ChunkSolver solver(LatencyModel({.linear = 1.0, .constant = 10.0}), bounded, 0.0);
  solver.begin_step(kInfinity);
  EXPECT_EQ(solver.chunk_tokens(kFar, 0, kFar), 96);
}

TEST(ChunkSolver, MaxStepHoldsOnTheStagesInForce) {
  ChunkLimits bounded = limits(1024);
  bounded.max_step_ms = 100.0;
  const LatencyModel model({.linear = 1.0});
  ChunkSolver solver(model, bounded);
  solver.set_stages(Stages({model, LatencyModel({.linear = 2.0})}), 0);
  solver.begin_step(kInfinity);
  EXPECT_EQ(solver.chunk_tokens(kFar, 0, kFar), 50);
  // The one that took longer is faster now.
  solver.set_stages(Stages({model, LatencyModel({.linear = 0.5})}), 0);
  EXPECT_EQ(solver.chunk_tokens(kFar, 0, kFar), 100);
}

TEST(ChunkSolver, ARowsStepsAreNotSharedOut) {
  // 1010 tokens at 100 a step: shared out, eleven like ones; otherwise full steps first.
  ChunkSolver solver(LatencyModel({.linear = 0.5, .constant = 10.0}), limits(kFar));
  solver.begin_step(60.0, Rest::shared_out);
  EXPECT_EQ(solver.chunk_tokens(1010, 0, kFar), 92);
  solver.begin_step(60.0, Rest::as_it_falls);
  EXPECT_EQ(solver.chunk_tokens(1010, 0, kFar), 100);
  EXPECT_EQ(solver.chunk_tokens(130, 0, kFar), 100);  // however little they leave
}

TEST(ChunkSolver, RefusesContradictions) {
  const LatencyModel model;
  EXPECT_THROW(ChunkSolver(model, limits(0)), InvalidArgument);
  EXPECT_THROW(ChunkSolver(model, limits(10), 1.5), InvalidArgument);
  EXPECT_THROW(ChunkSolver(model, limits(10), std::nan("")), InvalidArgument);
  EXPECT_THROW(ChunkSolver(model, limits(10), 1.0, 11), InvalidArgument);
  EXPECT_THROW(ChunkSolver(model, limits(10), 1.0, 0), InvalidArgument);
}

TEST(ChunkSolver, RefusesBadLimits) {
  EXPECT_THROW(ChunkSolver(LatencyModel({.linear = 1.0}), limits(0)), InvalidArgument);
}

TEST(ChunkSolver, RefusesBadCalls) {
  ChunkSolver solver(LatencyModel({.linear = 1.0}), limits(10));
  EXPECT_THROW((void)solver.chunk_tokens(1, 0, 1), InvalidArgument);  // no begin_step
  EXPECT_THROW(solver.begin_step(std::nan("")), InvalidArgument);
  EXPECT_THROW(solver.begin_step(-1.0), InvalidArgument);
  solver.begin_step(1.0);
  EXPECT_THROW((void)solver.chunk_tokens(-1, 0, 1), InvalidArgument);
  EXPECT_THROW((void)solver.chunk_tokens(1, -1, 1), InvalidArgument);
  EXPECT_THROW((void)solver.chunk_tokens(1, 0, -1), InvalidArgument);
  EXPECT_THROW((void)solver.chunk_tokens(std::numeric_limits<std::int64_t>::max(), 0, 1),
               InvalidArgument);
  EXPECT_THROW(solver.add_chunk({.num_tokens = -1, .num_computed_tokens = 0}), InvalidArgument);
  EXPECT_THROW(solver.add_decodes(-1, 0), InvalidArgument);
  EXPECT_THROW(solver.add_decodes(1, -1), InvalidArgument);
  EXPECT_THROW(solver.add_decodes(1, 0, -1), InvalidArgument);
  EXPECT_THROW(solver.add_chunk({.num_tokens = 1,
                                 .num_computed_tokens = std::numeric_limits<std::int64_t>::min()}),
               InvalidArgument);
}

TEST(ChunkSolver, HugeCoefficientsHaveAnAnswer) {
  const LatencyModel huge(
      {.quadratic = 1e308, .cross = 1e308, .linear = 1e308, .context = 1e308, .constant = 1e308});
  ChunkSolver solver(huge, limits(100, 1, 4));
  for (const double target_ms : {0.0, 1.0, 1e308, kInfinity}) {
    solver.begin_step(target_ms);
    const std::int64_t chunk = solver.chunk_tokens(kFar, kFar, kFar);
    EXPECT_GE(chunk, 1);
    EXPECT_LE(chunk, 100);
  }
}

}  // namespace
}  // namespace cpp_chunk
