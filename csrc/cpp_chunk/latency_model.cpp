#include "cpp_chunk/latency_model.h"

#include <cmath>
#include <limits>

#include "cpp_chunk/check.h"

namespace cpp_chunk {

LatencyModel::LatencyModel(const Coefficients& coefficients) : coefficients_(coefficients) {
  const std::array<double, kNumCoefficients> values = {coefficients.quadratic, coefficients.cross,
                                                       coefficients.linear, coefficients.context,
                                                       coefficients.constant};
  for (std::size_t i = 0; i < kNumCoefficients; ++i) {
    check_number(kCoefficientNames[i], values[i]);
  }
}

double LatencyModel::step_ms(std::span<const Chunk> chunks) const {
  for (const Chunk& chunk : chunks) {
    check_chunk(chunk);
  }
  return step_ms(StepFeatures::of(chunks));
}

LatencyModel LatencyModel::scaled(double factor) const {
  check_number("factor", factor);
  return LatencyModel({.quadratic = factor * coefficients_.quadratic,
                       .cross = factor * coefficients_.cross,
                       .linear = factor * coefficients_.linear,
                       .context = factor * coefficients_.context,
                       .constant = factor * coefficients_.constant});
}

LatencyModel LatencyModel::with_overhead(double overhead_ms) const {
  check_number("overhead_ms", overhead_ms);
  Coefficients coefficients = coefficients_;
  coefficients.constant += overhead_ms;
  return LatencyModel(coefficients);
}

double LatencyModel::tokens_within(double budget_ms, double num_computed_tokens) const noexcept {
  const double spendable_ms = budget_ms - coefficients_.context * num_computed_tokens;
  // Written so that NaN (an infinite budget less an infinite cost) counts as nothing to spend.
  if (!(spendable_ms >= 0.0)) {
    return 0.0;
  }
  const double slope = coefficients_.cross * num_computed_tokens + coefficients_.linear;
  const bool is_free = coefficients_.quadratic <= 0.0 && slope <= 0.0;
  if (is_free || std::isinf(spendable_ms)) {
    return std::numeric_limits<double>::infinity();
  }
  if (spendable_ms <= 0.0) {
    return 0.0;
  }
  // quadratic/2 x^2 + slope x = spendable. The textbook root subtracts two nearly equal numbers
  // when quadratic is small and divides by zero when it is absent; this form does neither.
  // hypot keeps slope^2 from overflowing.
  const double root =
      std::hypot(slope, std::sqrt(2.0 * coefficients_.quadratic) * std::sqrt(spendable_ms));
  const double denominator = slope + root;
  if (denominator <= 0.0) {  // both products underflowed
    return std::numeric_limits<double>::infinity();
  }
  const double num_tokens = 2.0 * (spendable_ms / denominator);
  return std::isnan(num_tokens) ? 0.0 : num_tokens;
}

}  // namespace cpp_chunk
