#include "cpp_chunk/prediction_variance.h"

#include <algorithm>
#include <cmath>
#include <cstddef>

#include "cpp_chunk/feature_row.h"

namespace cpp_chunk {
namespace {

// What is known of a cost's change before any pass: with every doubling it is about a tenth, where
// the noise of a step is 3 %. The square of 3 % over a tenth.
constexpr double kChangePrecision = 0.09;
// Almost nothing is known of the costs themselves; with nothing, there would be no inverse.
constexpr double kRidge = 1e-6;

}  // namespace

PredictionVariance::PredictionVariance(std::span<const Chunk> region, const LatencyModel& guess,
                                       double smallest_chunk_tokens)
    : guess_(guess),
      smallest_chunk_tokens_(smallest_chunk_tokens),
      information_(kRidge * Matrix::Identity()) {
  information_.bottomRightCorner<kChanges, kChanges>().diagonal().array() += kChangePrecision;
  covariance_ = information_.inverse();
  scale_columns(region);
  for (const Chunk& pass : region) {
    const Row row = row_of(pass);
    region_ += row * row.transpose() / static_cast<double>(region.size());
  }
}

void PredictionVariance::add(const Chunk& pass) {
  const Row row = row_of(pass);
  information_ += row * row.transpose();
  covariance_ = information_.inverse();
}

double PredictionVariance::mean_with(const Chunk& pass) const {
  // The rank-one update of an inverse.
  const Row row = row_of(pass);
  const Row gain = covariance_ * row;
  return covariance_.cwiseProduct(region_).sum() - gain.dot(region_ * gain) / (1.0 + row.dot(gain));
}

// Each cost's share of the pass's time, then what each cost's change would add to it.
PredictionVariance::Row PredictionVariance::unscaled_row(const Chunk& pass) const {
  const FeatureRow features = feature_row(StepFeatures::of(pass));
  const Coefficients& costs = guess_.coefficients();
  const double size_doublings =
      std::log2(std::max(1.0, static_cast<double>(pass.num_tokens) / smallest_chunk_tokens_));
  const double history_doublings =
      std::log2(1.0 + static_cast<double>(pass.num_computed_tokens) / smallest_chunk_tokens_);
  Row row;
  for (int column = 0; column < kCosts; ++column) {
    row(column) = features[static_cast<std::size_t>(column)];
  }
  row(kCosts) = costs.quadratic * features[0] * size_doublings;
  row(kCosts + 1) = costs.cross * features[1] * size_doublings;
  row(kCosts + 2) = costs.linear * features[2] * size_doublings;
  row(kCosts + 3) = costs.cross * features[1] * history_doublings;
  return row / guess_.step_ms(StepFeatures::of(pass));
}

PredictionVariance::Row PredictionVariance::row_of(const Chunk& pass) const {
  return unscaled_row(pass).cwiseProduct(column_scale_);
}

// To costs of mean square 1. The guess cannot be their unit: it may be 0.
void PredictionVariance::scale_columns(std::span<const Chunk> region) {
  Row squares = Row::Zero();
  for (const Chunk& pass : region) {
    squares += unscaled_row(pass).cwiseAbs2();
  }
  for (int column = 0; column < kCosts; ++column) {
    const double norm = std::sqrt(squares(column) / static_cast<double>(region.size()));
    column_scale_(column) = norm > 0.0 ? 1.0 / norm : 1.0;
  }
}

}  // namespace cpp_chunk
