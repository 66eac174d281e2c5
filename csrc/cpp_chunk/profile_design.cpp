#include "cpp_chunk/profile_design.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "cpp_chunk/error.h"
#include "cpp_chunk/fit_data.h"
#include "cpp_chunk/latency_model.h"
#include "cpp_chunk/number_text.h"
#include "cpp_chunk/prediction_variance.h"

namespace cpp_chunk {
namespace {

// Longest context of a scout: until one has run, nobody knows how long a pass takes.
constexpr std::int64_t kScoutContextTokens = 16384;

bool contains(std::span<const Chunk> chunks, const Chunk& chunk) {
  return std::ranges::find(chunks, chunk) != chunks.end();
}

std::vector<Chunk> checked_chunks(std::span<const MeasuredPass> measured) {
  if (measured.empty()) {
    throw InvalidArgument({.field = "measured", .value = "none"},
                          "next_passes needs a measured pass: begin with scouting_passes");
  }
  std::vector<Chunk> chunks;
  for (const MeasuredPass& pass : measured) {
    if (!is_valid(pass.chunk) || pass.chunk.num_tokens < 1 || !std::isfinite(pass.latency_ms) ||
        !(pass.latency_ms > 0.0)) {
      const std::string got =
          shown(pass.latency_ms) + " for " + std::to_string(pass.chunk.num_tokens) + " tokens";
      throw InvalidArgument({.field = "measured", .value = got},
                            "a measured pass needs tokens and a finite latency_ms > 0, got " + got);
    }
    chunks.push_back(pass.chunk);
  }
  return chunks;
}

// The longest time that a pass may be expected to take: the space's own, or what it takes to have
// as many different passes as a fit needs.
double longest_pass_ms(const ProfileSpace& space, std::span<const Chunk> all,
                       std::span<const Chunk> taken, const LatencyModel& guess) {
  std::vector<Chunk> different;
  for (const Chunk& chunk : taken) {
    if (!contains(different, chunk)) {
      different.push_back(chunk);
    }
  }
  std::vector<double> untaken_ms;
  for (const Chunk& chunk : all) {
    if (!contains(taken, chunk)) {
      untaken_ms.push_back(guess.step_ms(StepFeatures::of(chunk)));
    }
  }
  if (different.size() >= kMinFitPoints || untaken_ms.empty()) {
    return space.longest_pass_ms;
  }
  std::ranges::sort(untaken_ms);
  const std::size_t num_needed = std::min(kMinFitPoints - different.size(), untaken_ms.size());
  return std::max(space.longest_pass_ms, untaken_ms[num_needed - 1]);
}

// The passes that leave least uncertainty, each chosen beside those before it.
std::vector<Chunk> most_telling(const ProfileSpace& space, std::span<const Chunk> taken,
                                const LatencyModel& guess, std::size_t num_passes) {
  const std::vector<Chunk> all = grid_of(space);
  PredictionVariance variance(all, guess, static_cast<double>(space.smallest_chunk_tokens));
  for (const Chunk& chunk : taken) {
    variance.add(chunk);
  }
  const double longest_ms = longest_pass_ms(space, all, taken, guess);
  std::vector<Chunk> chosen;
  while (chosen.size() < num_passes) {
    double least = std::numeric_limits<double>::infinity();
    const Chunk* best = nullptr;
    for (const Chunk& chunk : all) {
      if (guess.step_ms(StepFeatures::of(chunk)) > longest_ms || contains(taken, chunk) ||
          contains(chosen, chunk)) {
        continue;
      }
      const double mean = variance.mean_with(chunk);
      if (mean < least) {
        least = mean;
        best = &chunk;
      }
    }
    if (best == nullptr) {
      break;
    }
    variance.add(*best);
    chosen.push_back(*best);
  }
  return chosen;
}

// Of the passes that were measured once, those that are furthest from the guess.
std::vector<Chunk> most_doubtful(std::span<const MeasuredPass> measured, const LatencyModel& guess,
                                 std::size_t num_passes) {
  std::vector<std::pair<double, Chunk>> doubts;
  for (const MeasuredPass& pass : measured) {
    const auto times_measured = std::ranges::count_if(
        measured, [&](const MeasuredPass& one) { return one.chunk == pass.chunk; });
    if (times_measured == 1) {
      const double predicted_ms = guess.step_ms(StepFeatures::of(pass.chunk));
      doubts.emplace_back(-std::abs(std::log(predicted_ms / pass.latency_ms)), pass.chunk);
    }
  }
  std::ranges::stable_sort(doubts, {}, [](const auto& doubt) { return doubt.first; });
  std::vector<Chunk> chunks;
  for (std::size_t i = 0; i < std::min(num_passes, doubts.size()); ++i) {
    chunks.push_back(doubts[i].second);
  }
  return chunks;
}

}  // namespace

std::vector<Chunk> scouting_passes(const ProfileSpace& space) {
  check_space(space);
  const auto smallest = static_cast<double>(space.smallest_chunk_tokens);
  ProfileSpace near = space;
  // With room for an aligned history before the largest scout.
  near.max_context_tokens =
      std::min(space.max_context_tokens,
               std::max(space.max_chunk_tokens + space.alignment, kScoutContextTokens));
  std::vector<Chunk> passes;
  // Mostly with history: a prompt has one chunk without, and many with.
  for (const auto& [size, share] : {std::pair(1.0, 0.0), std::pair(4.0, 0.125), std::pair(1.0, 0.5),
                                    std::pair(4.0, 0.5), std::pair(16.0, 0.25)}) {
    const Chunk chunk = chunk_at(near, size * smallest, share);
    if (!contains(passes, chunk)) {
      passes.push_back(chunk);
    }
  }
  return passes;
}

std::vector<Chunk> next_passes(const ProfileSpace& space, std::span<const MeasuredPass> measured,
                               std::size_t num_new, std::size_t num_repeats) {
  check_space(space);
  const std::vector<Chunk> taken = checked_chunks(measured);
  const LatencyModel guess = guess_model(measured);
  std::vector<Chunk> chosen = most_telling(space, taken, guess, num_new);
  const std::vector<Chunk> doubtful = most_doubtful(measured, guess, num_repeats);
  chosen.insert(chosen.end(), doubtful.begin(), doubtful.end());
  return chosen;
}

}  // namespace cpp_chunk
