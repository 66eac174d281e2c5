#include "cpp_chunk/equal_share.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace cpp_chunk {
namespace {

// Rounding of the closed form must not turn an exact fit into one more step.
constexpr double kStepTolerance = 1e-9;

// The variable work of a rest of a prompt, as a function of how many steps it is cut into:
// work(k) = fixed + cut/k + k*repeated. Sum(x^2/2) + sum(x*(h_i - h)) telescopes to R^2/2 for
// any cut; what quadratic and cross price differently is left over, at its least for equal chunks.
struct RestWork {
  double fixed_ms;
  double cut_ms;
  double repeated_ms;

  RestWork(const Coefficients& model, double remaining_tokens, double num_computed_tokens)
      : fixed_ms(remaining_tokens * (model.cross * (num_computed_tokens + 0.5 * remaining_tokens) +
                                     model.linear - 0.5 * model.context)),
        cut_ms(0.5 * (model.quadratic - model.cross) * remaining_tokens * remaining_tokens),
        repeated_ms(model.context * (num_computed_tokens + 0.5 * remaining_tokens)) {}

  [[nodiscard]] double share_ms(double num_steps) const {
    return (fixed_ms + cut_ms / num_steps) / num_steps + repeated_ms;
  }

  // Smallest k with k*capacity >= work(k); infinity when the history alone outgrows the capacity.
  [[nodiscard]] double steps_within(double capacity_ms) const {
    const double spendable_ms = capacity_ms - repeated_ms;
    if (!(spendable_ms > 0.0)) {
      return std::numeric_limits<double>::infinity();
    }
    if (share_ms(1.0) <= capacity_ms) {
      return 1.0;
    }
    const double discriminant = fixed_ms * fixed_ms + 4.0 * spendable_ms * cut_ms;
    const double root = std::sqrt(std::max(0.0, discriminant));
    return std::ceil((fixed_ms + root) / (2.0 * spendable_ms) * (1.0 - kStepTolerance));
  }
};

}  // namespace

std::optional<double> equal_share_ms(const Coefficients& cost, double remaining_tokens,
                                     double num_computed_tokens, double capacity_ms) {
  const RestWork work(cost, remaining_tokens, num_computed_tokens);
  const double num_steps = work.steps_within(capacity_ms);
  return std::isfinite(num_steps) ? std::optional(work.share_ms(num_steps)) : std::nullopt;
}

}  // namespace cpp_chunk
