#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string_view>

#include "cpp_chunk/step.h"

namespace cpp_chunk {

/// \brief The five costs of a step on one stage, all >= 0.
struct Coefficients {
  double quadratic = 0.0;  ///< ms per token^2: attention inside a chunk (on x^2/2)
  double cross = 0.0;      ///< ms per token^2: attention of a chunk against its history (on x*h)
  double linear = 0.0;     ///< ms per token: projections, MLP, MoE
  double context = 0.0;    ///< ms per history token: what each chunk repeats (KV gather)
  double constant = 0.0;   ///< ms per step: launches, weight reads, the engine's gap

  friend constexpr bool operator==(const Coefficients&, const Coefficients&) = default;
};

inline constexpr std::size_t kNumCoefficients = 5;

/// \brief Names in the order of the struct, for reports.
inline constexpr std::array<std::string_view, kNumCoefficients> kCoefficientNames = {
    "quadratic", "cross", "linear", "context", "constant"};

/// \brief Predicts how long one pipeline stage takes for a step.
///
/// t = quadratic*sum(x^2/2) + cross*sum(x*h) + linear*sum(x) + context*sum(h) + constant
class LatencyModel {
 public:
  /// \brief The model of a stage that costs nothing.
  LatencyModel() = default;

  /// \param coefficients finite and >= 0, otherwise InvalidArgument
  explicit LatencyModel(const Coefficients& coefficients);

  [[nodiscard]] const Coefficients& coefficients() const noexcept { return coefficients_; }

  /// \brief Predicted time of a step in ms; a step without chunks costs the constant.
  [[nodiscard]] double step_ms(const StepFeatures& features) const noexcept {
    return chunks_ms(features) + coefficients_.constant;
  }

  /// \brief As above; token counts outside [0, kMaxTokens] are InvalidArgument.
  [[nodiscard]] double step_ms(std::span<const Chunk> chunks) const;

  /// \brief What the chunks add to a step in ms, the step's constant left out.
  [[nodiscard]] double chunks_ms(const StepFeatures& features) const noexcept {
    return coefficients_.quadratic * features.half_square_sum +
           coefficients_.cross * features.cross_sum + coefficients_.linear * features.token_sum +
           coefficients_.context * features.context_sum;
  }

  /// \brief Largest chunk whose cost fits a budget: chunks_ms inverted for one chunk.
  ///
  /// Continuous, never below 0, never increasing in the history at the same budget.
  /// \param budget_ms variable time to spend; NaN, or less than the history costs, gives 0
  /// \param num_computed_tokens history in tokens, >= 0
  /// \return tokens; infinity where further tokens cost nothing
  [[nodiscard]] double tokens_within(double budget_ms, double num_computed_tokens) const noexcept;

  /// \brief The model of a stage on which everything takes factor times as long.
  /// \param factor finite and >= 0, otherwise InvalidArgument
  [[nodiscard]] LatencyModel scaled(double factor) const;

  /// \brief The model of steps that each take this much longer, whatever they hold.
  /// \param overhead_ms finite and >= 0, otherwise InvalidArgument
  [[nodiscard]] LatencyModel with_overhead(double overhead_ms) const;

  friend bool operator==(const LatencyModel&, const LatencyModel&) = default;

 private:
  Coefficients coefficients_;
};

}  // namespace cpp_chunk
