#include "cpp_chunk/equal_step_trials.h"

#include <algorithm>

namespace cpp_chunk {
namespace {

// Numbers of steps around the best one by the closed form: so many on either side, each so many
// times the one before it. Over 2000 random deployments no finer or wider search gained 0.01 %.
constexpr int kStepPoints = 4;
constexpr double kStepRatio = 1.15;
// Targets around the best trial, so many on either side: alignment and tails make the plan jump
// there.
constexpr int kTargetPoints = 5;
constexpr double kTargetSpacing = 0.015;

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
  double ratio = 1.0;
  for (int point = 0; point < kStepPoints; ++point) {
    ratio *= kStepRatio;
    try_steps(std::max(best_steps / ratio, range.fewest));
    try_steps(std::min(best_steps * ratio, range.most));
  }
  trials.run_between(flow.step_ms(best_steps), cap_ms);
  const double center_ms = trials.best().longest_ms();
  for (int point = 1; point <= kTargetPoints; ++point) {
    trials.run((1.0 - kTargetSpacing * point) * center_ms);
    trials.run((1.0 + kTargetSpacing * point) * center_ms);
  }
}

}  // namespace cpp_chunk
