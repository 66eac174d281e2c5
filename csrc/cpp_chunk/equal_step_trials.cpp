#include "cpp_chunk/equal_step_trials.h"

#include <algorithm>
#include <array>

namespace cpp_chunk {
namespace {

// Numbers of steps around the best one by the closed form, from the nearest outward.
constexpr std::array<double, 13> kStepRatios = {0.93, 1.07, 0.87, 1.15, 0.8, 1.3, 0.7,
                                                1.5,  0.6,  1.75, 0.5,  2.0, 0.33};
// Targets around the best trial: alignment and tails make the plan jump there.
constexpr std::array<double, 8> kTargetRatios = {0.985, 1.015, 0.97, 1.03, 0.94, 1.06, 0.9, 1.1};

}  // namespace

void try_equal_steps(const BacklogFlow& flow, const StepRange& range, double cap_ms,
                     Trials& trials) {
  const double best_steps = flow.best_steps(range.fewest, range.most);
  double tried = 0.0;
  const auto try_steps = [&](double num_steps) {
    if (num_steps != tried && trials.can_try(num_steps)) {
      trials.run(flow.step_ms(num_steps));
      tried = num_steps;
    }
  };
  try_steps(best_steps);
  for (const double ratio : kStepRatios) {
    try_steps(std::clamp(ratio * best_steps, range.fewest, range.most));
  }
  trials.run_between(flow.step_ms(best_steps), cap_ms);
  const double center_ms = trials.best().longest_ms();
  for (const double ratio : kTargetRatios) {
    trials.run(ratio * center_ms);
  }
}

}  // namespace cpp_chunk
