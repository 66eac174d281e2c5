#include "cpp_chunk/profile_guess.h"

#include <Eigen/Dense>

#include <algorithm>
#include <cmath>
#include <vector>

#include "cpp_chunk/block_qr.h"
#include "cpp_chunk/feature_row.h"
#include "cpp_chunk/non_negative_least_squares.h"

namespace cpp_chunk {
namespace {

constexpr int kCosts = static_cast<int>(kNumCoefficients);

// Before anything is measured: a token costs about as much as a thousand cells of the attention
// matrix in models of any size that is served, and a step about as much as a hundred tokens.
constexpr Coefficients kNominal = {
    .quadratic = 1e-3, .cross = 1e-3, .linear = 1.0, .constant = 1e2};
// What the nominal time of a pass counts beside the measured one.
constexpr double kNominalWeight = 0.02;
// Keeps each cost near its nominal one where no pass depends on it.
constexpr double kRidge = 1e-6;
constexpr int kIterations = 12;
// Relative errors below this are noise. A weight is one over its pass's error: without a floor, the
// passes hit exactly would outweigh all others.
constexpr double kL1Floor = 0.03;

}  // namespace

LatencyModel guess_model(std::span<const MeasuredPass> measured) {
  const LatencyModel nominal(kNominal);
  std::vector<double> ratios;
  ratios.reserve(measured.size());
  for (const MeasuredPass& pass : measured) {
    ratios.push_back(pass.latency_ms / nominal.step_ms(StepFeatures::of(pass.chunk)));
  }
  const auto middle = ratios.begin() + static_cast<std::ptrdiff_t>(ratios.size() / 2);
  std::ranges::nth_element(ratios, middle);
  const LatencyModel start = nominal.scaled(*middle);
  LatencyModel guess = start;
  for (int iteration = 0; iteration < kIterations; ++iteration) {
    // Columns in units of the nominal model, so that none is tiny beside another. It has no
    // context cost: the unit there is that of a cell.
    const auto scaled_row = [&](const Chunk& chunk, double latency_ms) -> FeatureRow {
      const FeatureRow row = feature_row(StepFeatures::of(chunk));
      const Coefficients unit = start.coefficients();
      return {row[0] * unit.quadratic / latency_ms, row[1] * unit.cross / latency_ms,
              row[2] * unit.linear / latency_ms, row[3] * unit.cross / latency_ms,
              row[4] * unit.constant / latency_ms};
    };
    BlockQr<kCosts> rows;
    for (const MeasuredPass& pass : measured) {
      const double error =
          std::abs(guess.step_ms(StepFeatures::of(pass.chunk)) / pass.latency_ms - 1.0);
      rows.add(scaled_row(pass.chunk, pass.latency_ms), 1.0,
               1.0 / std::sqrt(std::max(error, kL1Floor)));
      const double start_ms = start.step_ms(StepFeatures::of(pass.chunk));
      rows.add(scaled_row(pass.chunk, start_ms), 1.0, std::sqrt(kNominalWeight));
    }
    for (std::size_t cost = 0; cost < kNumCoefficients; ++cost) {
      FeatureRow one{};
      one[cost] = 1.0;
      rows.add(one, 1.0, std::sqrt(kRidge));
    }
    const Eigen::Matrix<double, kCosts, 1> factors = solve_non_negative<kCosts>(rows.triangle());
    const Coefficients unit = start.coefficients();
    guess = LatencyModel({.quadratic = factors(0) * unit.quadratic,
                          .cross = factors(1) * unit.cross,
                          .linear = factors(2) * unit.linear,
                          .context = factors(3) * unit.cross,
                          .constant = factors(4) * unit.constant});
  }
  // Errors are divided by the guess: it must not be 0 for any pass.
  return guess.with_overhead(1e-6 * start.coefficients().constant);
}

}  // namespace cpp_chunk
