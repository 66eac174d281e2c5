// Measured steps of any kind, through the fit and through a calibrator.

#include <algorithm>
#include <vector>

#include "cpp_chunk/calibrator.h"
#include "cpp_chunk/error.h"
#include "cpp_chunk/fit.h"
#include "cpp_chunk/fit_data.h"
#include "harness.h"
#include "require.h"
#include "require_sound.h"

namespace cpp_chunk::fuzz {
namespace {

void require_counted(const FitReport& report, std::size_t num_points) {
  require_sound(report);
  require(report.num_points == num_points, "every step is counted");
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
    require_counted(fit_latency_model(steps), steps.size());
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
    require_counted(calibrator.refit(), calibrator.num_recent());
  } catch (const FitRefused&) {
  }
}

}  // namespace cpp_chunk::fuzz
