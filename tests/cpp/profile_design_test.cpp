#include "cpp_chunk/profile_design.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "cpp_chunk/error.h"
#include "cpp_chunk/fit.h"
#include "cpp_chunk/fit_data.h"

namespace cpp_chunk {
namespace {

ProfileSpace usual() {
  return {.smallest_chunk_tokens = 32,
          .max_chunk_tokens = 16384,
          .max_context_tokens = 131072,
          .alignment = 16};
}

LatencyModel attention_bound() {
  return LatencyModel({.quadratic = 4e-5, .cross = 4e-5, .linear = 0.01, .constant = 3.0});
}

MeasuredStep step_of(const Chunk& chunk) {
  MeasuredStep step;
  step.features.add(chunk);
  return step;
}

double step_ms(const LatencyModel& model, const Chunk& chunk) {
  return model.step_ms(StepFeatures::of(chunk));
}

std::ptrdiff_t count(const std::vector<Chunk>& chunks, const Chunk& chunk) {
  return std::ranges::count(chunks, chunk);
}

std::vector<MeasuredPass> measure(const LatencyModel& model, const std::vector<Chunk>& chunks) {
  std::vector<MeasuredPass> passes;
  for (const Chunk& chunk : chunks) {
    passes.push_back({.chunk = chunk, .latency_ms = step_ms(model, chunk)});
  }
  return passes;
}

void expect_inside(const ProfileSpace& space, const Chunk& chunk) {
  EXPECT_GE(chunk.num_tokens, space.smallest_chunk_tokens);
  EXPECT_LE(chunk.num_tokens, space.max_chunk_tokens);
  EXPECT_GE(chunk.num_computed_tokens, 0);
  EXPECT_LE(chunk.num_tokens + chunk.num_computed_tokens, space.max_context_tokens);
  // A multiple, or there is none where it could be.
  if (chunk.num_tokens % space.alignment != 0) {
    EXPECT_EQ(space.max_chunk_tokens / space.alignment,
              (space.smallest_chunk_tokens - 1) / space.alignment);
  }
  if (chunk.num_computed_tokens % space.alignment != 0) {
    EXPECT_LT(space.max_context_tokens - chunk.num_tokens, space.alignment);
  }
}

// Noise of 3 %, seeded.
class Device {
 public:
  Device(const LatencyModel& model, unsigned seed) : model_(model), random_(seed) {}

  void run(const std::vector<Chunk>& chunks, std::vector<MeasuredPass>& passes) {
    for (const Chunk& chunk : chunks) {
      const double factor = std::exp(noise_(random_));
      passes.push_back({.chunk = chunk, .latency_ms = factor * step_ms(model_, chunk)});
    }
  }

 private:
  LatencyModel model_;
  std::mt19937 random_;
  std::normal_distribution<double> noise_{0.0, 0.03};
};

// As the engine does it: scouts, then two rounds.
std::vector<MeasuredPass> designed(const ProfileSpace& space, Device device,
                                   double first_factor = 1.0) {
  std::vector<MeasuredPass> passes;
  device.run(scouting_passes(space), passes);
  passes.front().latency_ms *= first_factor;
  device.run(next_passes(space, passes, 5, 0), passes);
  device.run(next_passes(space, passes, 2, 3), passes);
  return passes;
}

// Sizes at equal distances or, for a stricter rival, at equal ratios; each with three histories.
std::vector<MeasuredPass> swept(const ProfileSpace& space, Device device, bool is_geometric) {
  std::vector<Chunk> chunks;
  for (const int fifth : {1, 2, 3, 4, 5}) {
    for (const std::int64_t halves : {0, 1, 2}) {
      const std::int64_t num_tokens = is_geometric ? space.max_chunk_tokens >> 2 * (5 - fifth)
                                                   : space.max_chunk_tokens * fifth / 5;
      chunks.push_back({num_tokens, (space.max_context_tokens - num_tokens) * halves / 2});
    }
  }
  std::vector<MeasuredPass> passes;
  device.run(chunks, passes);
  return passes;
}

// Mean relative error over sizes and histories of every order; 1 where no fit is carried.
double error_of(const std::vector<MeasuredPass>& passes, const LatencyModel& truth,
                const ProfileSpace& space) {
  std::vector<MeasuredStep> steps;
  for (const MeasuredPass& pass : passes) {
    steps.push_back(step_of(pass.chunk));
    steps.back().latency_ms = pass.latency_ms;
  }
  LatencyModel model;
  try {
    model = fit_latency_model(steps).model;
  } catch (const FitRefused&) {
    return 1.0;
  }
  double sum = 0.0;
  int num_chunks = 0;
  for (std::int64_t num_tokens = 32; num_tokens <= space.max_chunk_tokens; num_tokens *= 2) {
    for (const double share : {0.0, 0.01, 0.03, 0.1, 0.3, 1.0}) {
      const auto longest = static_cast<double>(space.max_context_tokens - num_tokens);
      const Chunk chunk{num_tokens, static_cast<std::int64_t>(share * longest)};
      sum += std::min(1.0, std::abs(step_ms(model, chunk) / step_ms(truth, chunk) - 1.0));
      ++num_chunks;
    }
  }
  return sum / num_chunks;
}

TEST(ProfileDesign, ScoutsAreDistinctAndInside) {
  const std::vector<Chunk> scouts = scouting_passes(usual());
  EXPECT_EQ(scouts.size(), 5U);
  for (const Chunk& scout : scouts) {
    expect_inside(usual(), scout);
    EXPECT_EQ(count(scouts, scout), 1);
    EXPECT_LE(scout.num_tokens, 512);
  }
  EXPECT_EQ(scouts.front(), (Chunk{32, 0}));
}

TEST(ProfileDesign, NewPassesAreNewAndRepeatsWereMeasuredOnce) {
  std::vector<Chunk> taken = scouting_passes(usual());
  taken.push_back(taken.front());
  const std::vector<Chunk> chosen = next_passes(usual(), measure(attention_bound(), taken), 6, 3);
  ASSERT_EQ(chosen.size(), 9U);
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    expect_inside(usual(), chosen[i]);
    EXPECT_EQ(count(chosen, chosen[i]), 1);
    EXPECT_EQ(count(taken, chosen[i]), i < 6 ? 0 : 1);
  }
}

TEST(ProfileDesign, EndsWhereThereIsNoMore) {
  const ProfileSpace one_size{
      .smallest_chunk_tokens = 64, .max_chunk_tokens = 64, .max_context_tokens = 64};
  const std::vector<Chunk> scouts = scouting_passes(one_size);
  ASSERT_EQ(scouts.size(), 1U);
  EXPECT_EQ(scouts.front(), (Chunk{64, 0}));
  const auto chosen = next_passes(one_size, measure(attention_bound(), scouts), 5, 5);
  ASSERT_EQ(chosen.size(), 1U);  // the scout again
  EXPECT_EQ(chosen.front(), (Chunk{64, 0}));
}

TEST(ProfileDesign, StaysInsideSpacesOfAnySize) {
  for (const std::int64_t largest : {1, 7, 100, 2048, 100'000}) {
    for (const std::int64_t context : {std::int64_t{100'000}, std::int64_t{100'001}, kMaxTokens}) {
      for (const std::int64_t alignment : {1, 16, 48, 1 << 20}) {
        const ProfileSpace space{.smallest_chunk_tokens = std::min<std::int64_t>(largest, 50),
                                 .max_chunk_tokens = largest,
                                 .max_context_tokens = context,
                                 .alignment = alignment};
        const std::vector<Chunk> scouts = scouting_passes(space);
        std::vector<Chunk> all = next_passes(space, measure(attention_bound(), scouts), 8, 0);
        EXPECT_FALSE(all.empty());
        all.insert(all.end(), scouts.begin(), scouts.end());
        for (const Chunk& chunk : all) {
          expect_inside(space, chunk);
          EXPECT_EQ(count(all, chunk), 1);
        }
      }
    }
  }
  const ProfileSpace whole{
      .max_chunk_tokens = kMaxTokens, .max_context_tokens = kMaxTokens, .alignment = 16};
  const auto scouts = measure(attention_bound(), scouting_passes(whole));
  EXPECT_EQ(next_passes(whole, scouts, 5, 0).size(), 5U);
}

TEST(ProfileDesign, ChoosesNothingThatIsExpectedToTakeLonger) {
  ProfileSpace space = usual();
  const auto scouts = measure(attention_bound(), scouting_passes(space));
  const auto longest_ms = [&scouts](const ProfileSpace& within) {
    double most_ms = 0.0;
    for (const Chunk& chunk : next_passes(within, scouts, 8, 0)) {
      most_ms = std::max(most_ms, step_ms(attention_bound(), chunk));
    }
    return most_ms;
  };
  EXPECT_GT(longest_ms(space), 1000.0);
  space.longest_pass_ms = 200.0;
  // What is expected comes from short passes: it may be off, by less than this.
  EXPECT_LT(longest_ms(space), 300.0);
}

TEST(ProfileDesign, ChoosesWhatAFitNeedsWhereEverythingTakesLonger) {
  ProfileSpace space = usual();
  space.longest_pass_ms = 1e-3;
  auto measured = measure(attention_bound(), scouting_passes(space));
  ASSERT_EQ(measured.size(), 5U);
  // One that was measured twice is one to a fit's knowledge.
  measured.push_back(measured.front());
  const auto chosen = next_passes(space, measured, 8, 0);
  ASSERT_EQ(chosen.size(), kMinFitPoints - 5);
  // Among the shortest that there are.
  const double shortest_ms = step_ms(attention_bound(), {space.smallest_chunk_tokens, 0});
  for (const Chunk& chunk : chosen) {
    EXPECT_LT(step_ms(attention_bound(), chunk), 2.0 * shortest_ms);
  }
  for (const Chunk& chunk : chosen) {
    measured.push_back({.chunk = chunk, .latency_ms = step_ms(attention_bound(), chunk)});
  }
  EXPECT_TRUE(next_passes(space, measured, 8, 0).empty());
}

TEST(ProfileDesign, IsDeterministic) {
  const auto scouts = measure(attention_bound(), scouting_passes(usual()));
  const auto first = next_passes(usual(), scouts, 5, 2);
  EXPECT_EQ(first, next_passes(usual(), scouts, 5, 2));
}

struct Truth {
  const char* name;
  Coefficients costs;
};

class ProfileDesignFor : public testing::TestWithParam<Truth> {};

TEST_P(ProfileDesignFor, IsBetterThanASweepAndMindsNoOutlier) {
  const LatencyModel truth(GetParam().costs);
  const ProfileSpace space = usual();
  constexpr unsigned num_seeds = 12;
  double design_error = 0.0;
  double outlier_error = 0.0;
  double sweep_error = 0.0;
  double geometric_error = 0.0;
  for (unsigned seed = 0; seed < num_seeds; ++seed) {
    const Device device(truth, seed);
    const auto design = designed(space, device);
    const auto sweep = swept(space, device, false);
    EXPECT_EQ(design.size(), sweep.size());
    design_error += error_of(design, truth, space) / num_seeds;
    outlier_error += error_of(designed(space, device, 30.0), truth, space) / num_seeds;
    sweep_error += error_of(sweep, truth, space) / num_seeds;
    geometric_error += error_of(swept(space, device, true), truth, space) / num_seeds;
  }
  EXPECT_LT(design_error, 0.5 * sweep_error);
  EXPECT_LT(design_error, 1.25 * geometric_error);
  EXPECT_LT(design_error, 0.02);
  EXPECT_LT(outlier_error, 1.5 * design_error);
}

INSTANTIATE_TEST_SUITE_P(Truths, ProfileDesignFor,
                         testing::Values(Truth{"Attention", {4e-5, 4e-5, 0.01, 0.0, 3.0}},
                                         Truth{"AttentionContext", {4e-5, 4e-5, 0.01, 1e-3, 3.0}},
                                         Truth{"Linear", {1e-8, 1e-8, 0.05, 0.0, 5.0}},
                                         Truth{"LinearContext", {1e-8, 1e-8, 0.05, 5e-4, 5.0}},
                                         Truth{"Constant", {1e-7, 1e-7, 2e-3, 0.0, 40.0}},
                                         Truth{"ConstantContext",
                                               {6.5e-7, 6.5e-7, 6.03e-3, 5.39e-4, 43.6}},
                                         Truth{"CrossDearer", {2e-6, 4e-6, 0.02, 1e-4, 10.0}}),
                         [](const auto& truth) { return std::string(truth.param.name); });

TEST(ProfileDesign, RefusesBadArguments) {
  const auto refuses = [](const ProfileSpace& space) {
    EXPECT_THROW((void)scouting_passes(space), InvalidArgument);
    const MeasuredPass pass{.chunk = {1, 0}, .latency_ms = 1.0};
    EXPECT_THROW((void)next_passes(space, std::span(&pass, 1), 1, 0), InvalidArgument);
  };
  refuses({.smallest_chunk_tokens = 0});
  refuses({.smallest_chunk_tokens = 2});
  refuses({.max_chunk_tokens = 2});
  refuses({.max_context_tokens = kMaxTokens + 1});
  refuses({.alignment = 0});
  refuses({.alignment = kMaxTokens + 1});
  refuses({.longest_pass_ms = 0.0});
  refuses({.longest_pass_ms = std::nan("")});
  const auto refuses_pass = [](const MeasuredPass& pass) {
    EXPECT_THROW((void)next_passes(usual(), std::span(&pass, 1), 1, 0), InvalidArgument);
  };
  EXPECT_THROW((void)next_passes(usual(), {}, 1, 0), InvalidArgument);
  refuses_pass({.chunk = {0, 5}, .latency_ms = 1.0});
  refuses_pass({.chunk = {5, -1}, .latency_ms = 1.0});
  refuses_pass({.chunk = {5, kMaxTokens + 1}, .latency_ms = 1.0});
  refuses_pass({.chunk = {5, 0}, .latency_ms = 0.0});
  refuses_pass({.chunk = {5, 0}, .latency_ms = std::nan("")});
  refuses_pass({.chunk = {5, 0}, .latency_ms = INFINITY});
}

}  // namespace
}  // namespace cpp_chunk
