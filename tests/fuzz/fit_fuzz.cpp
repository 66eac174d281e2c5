// Measured steps of any kind, through the fit and through a calibrator.

#include <algorithm>
#include <cmath>
#include <vector>

#include "cpp_chunk/calibrator.h"
#include "cpp_chunk/error.h"
#include "cpp_chunk/fit.h"
#include "harness.h"
#include "require.h"

namespace cpp_chunk::fuzz {
namespace {

void require_sound(const FitReport& report, std::size_t num_points) {
  const Coefficients& cost = report.model.coefficients();
  for (const double value :
       {cost.quadratic, cost.cross, cost.linear, cost.context, cost.constant}) {
    require(std::isfinite(value) && value >= 0.0, "coefficients are finite and >= 0");
  }
  require(report.num_points == num_points, "every step is counted");
  require(report.num_outliers < num_points, "not all steps are outliers");
  require(report.mean_relative_error >= 0.0 && report.mean_relative_error <= kMaxMeanRelativeError,
          "a fit that misses its steps is refused");
  require(report.p95_relative_error >= 0.0, "the error's percentile is a number");
  require(report.condition_number >= 0.0 && report.condition_number <= kMaxConditionNumber,
          "an ill-conditioned fit is refused");
}

}  // namespace

void run(Input& input) {
  const bool is_modelled = input.flag();
  LatencyModel truth;
  try {
    truth = input.model();
  } catch (const InvalidArgument&) {
    return;
  }
  std::vector<MeasuredStep> steps;
  while (!input.is_used_up() && steps.size() < 32) {
    MeasuredStep step;
    for (std::size_t chunk = input.count(3); chunk > 0; --chunk) {
      step.features.add(input.chunk());
    }
    step.latency_ms = is_modelled ? truth.step_ms(step.features) * (1.0 + input.number(-6.0, 1.0))
                                  : input.number(-3.0, 5.0);
    steps.push_back(step);
  }
  try {
    require_sound(fit_latency_model(steps), steps.size());
  } catch (const Error&) {  // refused, or unusable steps
  }
  Calibrator calibrator({}, 16);
  std::size_t num_added = 0;
  for (const MeasuredStep& step : steps) {
    require(calibrator.add(step.features, step.latency_ms) == is_usable(step),
            "usable steps are kept");
    num_added += is_usable(step) ? 1U : 0U;
  }
  require(calibrator.num_recent() == std::min<std::size_t>(16, num_added), "the ring keeps 16");
  require(calibrator.num_rejected() == steps.size() - num_added, "others are counted");
  try {
    require_sound(calibrator.refit(), calibrator.num_recent());
  } catch (const FitRefused&) {
  }
}

}  // namespace cpp_chunk::fuzz
