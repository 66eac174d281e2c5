#include "cpp_chunk/profile_design.h"

#include <Eigen/Dense>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <string>

#include "cpp_chunk/block_qr.h"
#include "cpp_chunk/error.h"
#include "cpp_chunk/feature_row.h"
#include "cpp_chunk/fit_data.h"
#include "cpp_chunk/latency_model.h"
#include "cpp_chunk/non_negative_least_squares.h"

namespace cpp_chunk {
namespace {

constexpr int kCosts = static_cast<int>(kNumCoefficients);
// Changes of the costs with every doubling: of three with the chunk, of one with the history.
constexpr int kChanges = 4;
constexpr int kColumns = kCosts + kChanges;
// How large they may be, a tenth, beside a step's noise, 3 %.
constexpr double kChangePrecision = 0.09;
constexpr double kRidge = 1e-6;

// Before anything is measured: a token costs about as much as a thousand cells of the attention
// matrix in models of any size that is served, and a step about as much as a hundred tokens.
constexpr Coefficients kNominal = {
    .quadratic = 1e-3, .cross = 1e-3, .linear = 1.0, .constant = 1e2};
constexpr double kNominalWeight = 0.02;
constexpr int kGuessIterations = 12;
constexpr double kL1Floor = 0.03;

// Shares of the longest history, beside none.
constexpr std::array<double, 6> kHistoryShares = {1.0 / 16, 1.0 / 8, 0.25, 0.5, 0.75, 1.0};
constexpr double kSizeRatio = std::numbers::sqrt2;
// Of scouts, which nobody has priced.
constexpr std::int64_t kScoutContextTokens = 16384;

using CostVector = Eigen::Matrix<double, kCosts, 1>;
using Row = Eigen::Matrix<double, kColumns, 1>;
using Information = Eigen::Matrix<double, kColumns, kColumns>;

bool is_same(const Chunk& a, const Chunk& b) {
  return a.num_tokens == b.num_tokens && a.num_computed_tokens == b.num_computed_tokens;
}

bool contains(std::span<const Chunk> chunks, const Chunk& chunk) {
  return std::ranges::any_of(chunks, [&](const Chunk& one) { return is_same(one, chunk); });
}

void check(const ProfileSpace& space) {
  if (space.smallest_chunk_tokens < 1 || space.max_chunk_tokens < space.smallest_chunk_tokens ||
      space.max_context_tokens < space.max_chunk_tokens || space.max_context_tokens > kMaxTokens ||
      space.alignment < 1 || space.alignment > kMaxTokens || !(space.longest_pass_ms > 0.0)) {
    throw InvalidArgument(
        "a profile needs 1 <= smallest_chunk_tokens <= max_chunk_tokens <= max_context_tokens <= " +
        std::to_string(kMaxTokens) + ", alignment in [1, " + std::to_string(kMaxTokens) +
        "] and longest_pass_ms > 0, got " + std::to_string(space.smallest_chunk_tokens) + ", " +
        std::to_string(space.max_chunk_tokens) + ", " + std::to_string(space.max_context_tokens) +
        ", " + std::to_string(space.alignment) + " and " + shown(space.longest_pass_ms));
  }
}

// The multiple at or below, or the first one where that is under the least; as it is where there
// is none up to the most.
std::int64_t aligned(double tokens, std::int64_t alignment, std::int64_t least, std::int64_t most) {
  const auto whole = std::clamp(static_cast<std::int64_t>(tokens), least, most);
  const std::int64_t below = whole / alignment * alignment;
  if (below >= least) {
    return below;
  }
  return most - below >= alignment ? below + alignment : whole;
}

// The chunk of about this size at about this share of its longest history.
Chunk chunk_at(const ProfileSpace& space, double tokens, double history_share) {
  const std::int64_t num_tokens =
      aligned(tokens, space.alignment, space.smallest_chunk_tokens, space.max_chunk_tokens);
  const std::int64_t longest = space.max_context_tokens - num_tokens;
  if (history_share <= 0.0 || longest < 1) {
    return {.num_tokens = num_tokens, .num_computed_tokens = 0};
  }
  return {.num_tokens = num_tokens,
          .num_computed_tokens =
              aligned(history_share * static_cast<double>(longest), space.alignment, 1, longest)};
}

std::vector<Chunk> grid(const ProfileSpace& space) {
  std::vector<Chunk> chunks;
  const auto add = [&](const Chunk& chunk) {
    if (!contains(chunks, chunk)) {
      chunks.push_back(chunk);
    }
  };
  const auto largest = static_cast<double>(space.max_chunk_tokens);
  for (auto tokens = static_cast<double>(space.smallest_chunk_tokens);;
       tokens = std::min(largest, tokens * kSizeRatio)) {
    add(chunk_at(space, tokens, 0.0));
    for (const double share : kHistoryShares) {
      add(chunk_at(space, tokens, share));
    }
    if (tokens >= largest) {
      return chunks;
    }
  }
}

StepFeatures features_of(const Chunk& chunk) { return StepFeatures::of(std::span(&chunk, 1)); }

// A model near what was measured, and near the nominal one where nothing was. Absolute errors
// weigh, not squares: so one bad pass does not choose all that follow.
LatencyModel guess_of(std::span<const MeasuredPass> measured) {
  const LatencyModel nominal(kNominal);
  std::vector<double> ratios;
  ratios.reserve(measured.size());
  for (const MeasuredPass& pass : measured) {
    ratios.push_back(pass.latency_ms / nominal.step_ms(features_of(pass.chunk)));
  }
  const auto middle = ratios.begin() + static_cast<std::ptrdiff_t>(ratios.size() / 2);
  std::ranges::nth_element(ratios, middle);
  const LatencyModel start = nominal.scaled(*middle);
  LatencyModel guess = start;
  for (int iteration = 0; iteration < kGuessIterations; ++iteration) {
    // Columns in units of the nominal model, so that none is tiny beside another. It has no
    // context cost: there a token of history counts like a cell.
    const auto scaled_row = [&](const Chunk& chunk, double latency_ms) -> FeatureRow {
      const FeatureRow row = feature_row(features_of(chunk));
      const Coefficients unit = start.coefficients();
      return {row[0] * unit.quadratic / latency_ms, row[1] * unit.cross / latency_ms,
              row[2] * unit.linear / latency_ms, row[3] * unit.cross / latency_ms,
              row[4] * unit.constant / latency_ms};
    };
    BlockQr<kCosts> rows;
    for (const MeasuredPass& pass : measured) {
      const double error = std::abs(guess.step_ms(features_of(pass.chunk)) / pass.latency_ms - 1.0);
      rows.add(scaled_row(pass.chunk, pass.latency_ms), 1.0,
               1.0 / std::sqrt(std::max(error, kL1Floor)));
      const double start_ms = start.step_ms(features_of(pass.chunk));
      rows.add(scaled_row(pass.chunk, start_ms), 1.0, std::sqrt(kNominalWeight));
    }
    for (std::size_t cost = 0; cost < kNumCoefficients; ++cost) {
      FeatureRow one{};
      one[cost] = 1.0;
      rows.add(one, 1.0, std::sqrt(kRidge));
    }
    const CostVector factors = solve_non_negative<kCosts>(rows.triangle());
    const Coefficients unit = start.coefficients();
    guess = LatencyModel({.quadratic = factors(0) * unit.quadratic,
                          .cross = factors(1) * unit.cross,
                          .linear = factors(2) * unit.linear,
                          .context = factors(3) * unit.cross,
                          .constant = factors(4) * unit.constant});
  }
  // A guess of nothing at all would leave no row to divide by.
  return guess.with_overhead(1e-6 * start.coefficients().constant);
}

// One pass as a row: each cost's share of its time, then what each cost's change would add to it.
class Rows {
 public:
  Rows(const ProfileSpace& space, const LatencyModel& guess)
      : guess_(guess),
        smallest_tokens_(static_cast<double>(space.smallest_chunk_tokens)),
        column_scale_(Row::Ones()) {}

  // Columns are in the guess's units; one whose coefficient is 0 there gets one of its own.
  void scale_by(std::span<const Chunk> chunks) {
    Row squares = Row::Zero();
    for (const Chunk& chunk : chunks) {
      squares += raw(chunk).cwiseAbs2();
    }
    for (int column = 0; column < kCosts; ++column) {
      const double norm = std::sqrt(squares(column) / static_cast<double>(chunks.size()));
      column_scale_(column) = norm > 0.0 ? 1.0 / norm : 1.0;
    }
  }

  [[nodiscard]] Row of(const Chunk& chunk) const { return raw(chunk).cwiseProduct(column_scale_); }

 private:
  [[nodiscard]] Row raw(const Chunk& chunk) const {
    const FeatureRow features = feature_row(features_of(chunk));
    const Coefficients& costs = guess_.coefficients();
    const double size_doublings =
        std::log2(std::max(1.0, static_cast<double>(chunk.num_tokens) / smallest_tokens_));
    const double history_doublings =
        std::log2(1.0 + static_cast<double>(chunk.num_computed_tokens) / smallest_tokens_);
    Row row;
    for (int column = 0; column < kCosts; ++column) {
      row(column) = features[static_cast<std::size_t>(column)];
    }
    row(kCosts) = costs.quadratic * features[0] * size_doublings;
    row(kCosts + 1) = costs.cross * features[1] * size_doublings;
    row(kCosts + 2) = costs.linear * features[2] * size_doublings;
    row(kCosts + 3) = costs.cross * features[1] * history_doublings;
    return row / guess_.step_ms(features_of(chunk));
  }

  LatencyModel guess_;
  double smallest_tokens_;
  Row column_scale_;
};

Information information_before() {
  Information information = kRidge * Information::Identity();
  information.bottomRightCorner<kChanges, kChanges>().diagonal().array() += kChangePrecision;
  return information;
}

// Mean variance of predictions, once the row is measured too: by the rank-one update of an inverse.
double mean_variance_with(const Row& row, const Information& covariance,
                          const Information& region) {
  const Row gain = covariance * row;
  return covariance.cwiseProduct(region).sum() - gain.dot(region * gain) / (1.0 + row.dot(gain));
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
      untaken_ms.push_back(guess.step_ms(features_of(chunk)));
    }
  }
  if (different.size() >= kMinFitPoints || untaken_ms.empty()) {
    return space.longest_pass_ms;
  }
  std::ranges::sort(untaken_ms);
  const std::size_t num_needed = std::min(kMinFitPoints - different.size(), untaken_ms.size());
  return std::max(space.longest_pass_ms, untaken_ms[num_needed - 1]);
}

// Of the passes that were measured once, those that are furthest from the guess.
std::vector<Chunk> most_doubtful(std::span<const MeasuredPass> measured, const LatencyModel& guess,
                                 std::size_t num_passes) {
  std::vector<std::pair<double, Chunk>> doubts;
  for (const MeasuredPass& pass : measured) {
    const auto times_measured = std::ranges::count_if(
        measured, [&](const MeasuredPass& one) { return is_same(one.chunk, pass.chunk); });
    if (times_measured == 1) {
      const double predicted_ms = guess.step_ms(features_of(pass.chunk));
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
  check(space);
  const auto smallest = static_cast<double>(space.smallest_chunk_tokens);
  ProfileSpace near = space;
  // Room for an aligned history behind the largest scout.
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
  check(space);
  if (measured.empty()) {
    throw InvalidArgument("next_passes needs a measured pass: begin with scouting_passes");
  }
  std::vector<Chunk> taken;
  for (const MeasuredPass& pass : measured) {
    if (!is_valid(pass.chunk) || pass.chunk.num_tokens < 1 || !std::isfinite(pass.latency_ms) ||
        !(pass.latency_ms > 0.0)) {
      throw InvalidArgument("a measured pass needs tokens and a finite latency_ms > 0, got " +
                            shown(pass.latency_ms) + " for " +
                            std::to_string(pass.chunk.num_tokens) + " tokens");
    }
    taken.push_back(pass.chunk);
  }
  const LatencyModel guess = guess_of(measured);
  const std::vector<Chunk> all = grid(space);
  Rows rows(space, guess);
  rows.scale_by(all);

  Information region = Information::Zero();
  for (const Chunk& chunk : all) {
    const Row row = rows.of(chunk);
    region += row * row.transpose() / static_cast<double>(all.size());
  }
  Information information = information_before();
  for (const Chunk& chunk : taken) {
    const Row row = rows.of(chunk);
    information += row * row.transpose();
  }

  const double longest_ms = longest_pass_ms(space, all, taken, guess);
  std::vector<Chunk> chosen;
  for (std::size_t i = 0; i < num_new; ++i) {
    const Information covariance = information.inverse();
    double least = std::numeric_limits<double>::infinity();
    const Chunk* best = nullptr;
    for (const Chunk& chunk : all) {
      if (guess.step_ms(features_of(chunk)) > longest_ms || contains(taken, chunk) ||
          contains(chosen, chunk)) {
        continue;
      }
      const double variance = mean_variance_with(rows.of(chunk), covariance, region);
      if (variance < least) {
        least = variance;
        best = &chunk;
      }
    }
    if (best == nullptr) {
      break;
    }
    const Row row = rows.of(*best);
    information += row * row.transpose();
    chosen.push_back(*best);
  }
  const std::vector<Chunk> doubtful = most_doubtful(measured, guess, num_repeats);
  chosen.insert(chosen.end(), doubtful.begin(), doubtful.end());
  return chosen;
}

}  // namespace cpp_chunk
