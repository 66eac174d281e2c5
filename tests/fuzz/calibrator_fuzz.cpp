// Measured steps of any kind, between refits, through a calibrator with a profile of any kind.

#include "cpp_chunk/calibrator.h"

#include <cmath>
#include <vector>

#include "cpp_chunk/error.h"
#include "cpp_chunk/fit_data.h"
#include "harness.h"
#include "require.h"
#include "require_sound.h"

namespace cpp_chunk::fuzz {
namespace {

MeasuredStep measured(Input& input, const LatencyModel& truth) {
  MeasuredStep step;
  for (std::size_t chunk = input.count(3); chunk > 0; --chunk) {
    step.features.add(input.chunk());
  }
  step.latency_ms = input.choice(3) == 0
                        ? input.number(-3.0, 5.0)
                        : truth.step_ms(step.features) * (1.0 + input.number(-6.0, 1.0));
  return step;
}

}  // namespace

void run(Input& input) {
  LatencyModel truth;
  try {
    truth = input.model();
  } catch (const InvalidArgument&) {
    return;
  }
  std::vector<MeasuredStep> profile;
  const auto keep = [&profile](const MeasuredStep& step) {
    if (is_usable(step)) {
      profile.push_back(step);
    }
  };
  if (input.flag()) {  // one that carries a fit, where the model does
    for (const std::int64_t num_tokens : {64, 256, 2048}) {
      for (const std::int64_t history : {0, 512, 16384}) {
        MeasuredStep step;
        step.features.add({.num_tokens = num_tokens, .num_computed_tokens = history});
        step.latency_ms = truth.step_ms(step.features);
        keep(step);
      }
    }
  }
  for (std::size_t more = input.count(12); more > 0; --more) {
    keep(measured(input, truth));
  }
  try {
    Calibrator calibrator(profile, 1 + input.count(20));
    while (!input.is_used_up()) {
      const MeasuredStep step = measured(input, truth);
      const std::size_t times = 1 + input.count(12);
      for (std::size_t i = 0; i < times; ++i) {
        require(calibrator.add(step.features, step.latency_ms) == is_usable(step),
                "usable steps are kept");
      }
      try {
        require_sound(calibrator.refit());
      } catch (const FitRefused&) {
      }
      require(calibrator.num_recent() <= calibrator.capacity(), "the ring has an end");
      require(std::isfinite(calibrator.scale()) && calibrator.scale() > 0.0,
              "the device has a speed");
    }
  } catch (const InvalidArgument&) {
    require(false, "usable steps are no bad argument");
  }
}

}  // namespace cpp_chunk::fuzz
