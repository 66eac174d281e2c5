#include "cpp_chunk/fit_data.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "cpp_chunk/error.h"
#include "cpp_chunk/number_text.h"

namespace cpp_chunk {

bool is_usable(const MeasuredStep& step) noexcept {
  const StepFeatures& features = step.features;
  return std::isfinite(step.latency_ms) && step.latency_ms > 0.0 && features.token_sum > 0.0 &&
         std::isfinite(features.token_sum) && std::isfinite(features.half_square_sum) &&
         features.half_square_sum > 0.0 && std::isfinite(features.cross_sum) &&
         features.cross_sum >= 0.0 && std::isfinite(features.context_sum) &&
         features.context_sum >= 0.0;
}

void check_usable(std::span<const MeasuredStep> steps) {
  for (std::size_t i = 0; i < steps.size(); ++i) {
    if (!is_usable(steps[i])) {
      const std::string got = "latency_ms " + shown(steps[i].latency_ms) + " for " +
                              shown(steps[i].features.token_sum) + " tokens";
      throw InvalidArgument({.field = "steps", .value = got},
                            "measured step " + std::to_string(i) +
                                " needs tokens >= 0, at least one new token and a finite "
                                "latency_ms > 0, got " +
                                got);
    }
  }
}

void check_diversity(std::span<const MeasuredStep> steps) {
  if (steps.size() < kMinFitPoints) {
    throw FitRefused(RefusalReason::too_few_points,
                     "a fit needs at least " + std::to_string(kMinFitPoints) +
                         " measured steps, got " + std::to_string(steps.size()));
  }
  // sum(x^2/2) : sum(x) is the same in every step exactly when the two columns are dependent;
  // that is so with one chunk size, however many chunks a step holds.
  const StepFeatures& first = steps.front().features;
  const double ratio = first.half_square_sum / first.token_sum;
  const bool single_size = std::ranges::all_of(steps, [ratio](const MeasuredStep& step) {
    const double expected = ratio * step.features.token_sum;
    return std::abs(step.features.half_square_sum - expected) <= 1e-9 * expected;
  });
  if (single_size) {
    throw FitRefused(RefusalReason::single_chunk_size,
                     "all " + std::to_string(steps.size()) +
                         " measured steps have chunks of one size, " + shown(2.0 * ratio) +
                         " tokens");
  }
  if (std::ranges::all_of(
          steps, [](const MeasuredStep& step) { return step.features.cross_sum <= 0.0; })) {
    throw FitRefused(RefusalReason::no_history, "none of the " + std::to_string(steps.size()) +
                                                    " measured steps has a chunk with history");
  }
}

}  // namespace cpp_chunk
