#include "cpp_chunk/ramp.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

namespace cpp_chunk {
namespace {

// Where a stage is much slower than the others, steps could grow beyond what a double holds.
constexpr double kMaxGrowth = 1e9;
// More steps than this gain less than a per mille through ramps.
constexpr std::size_t kMaxRampSteps = 256;
// Numbers of steps that are tried, for each step of the best equal ones. The optimum is flat.
constexpr std::array<double, 15> kStepsRatios = {0.3, 0.4,  0.5,  0.6, 0.7, 0.8,  0.87, 0.93,
                                                 1.0, 1.07, 1.15, 1.3, 1.5, 1.75, 2.0};
// What the last step may be of the first.
constexpr std::array<double, 11> kEndRatios = {1.0, 0.85, 1.18, 0.7, 1.4, 0.5,
                                               2.0, 0.3,  3.3,  0.1, 10.0};

// Steps that arrive at a stage of weight 1, through stages of these weights, just in time.
std::vector<double> fastest_growth(std::span<const double> weights) {
  std::vector<double> times;
  if (weights.empty()) {
    return times;
  }
  // What a step needs from stage k on, to the door of the slowest.
  std::vector<double> to_the_door(weights.size());
  std::vector<double> free_at(weights.size());
  double sum = 0.0;
  for (std::size_t k = weights.size(); k-- > 0;) {
    sum += weights[k];
    to_the_door[k] = sum;
  }
  double arrival = 0.0;
  for (std::size_t k = 0; k < weights.size(); ++k) {
    arrival += weights[k];
    free_at[k] = arrival;
  }
  double slowest_done = arrival + 1.0;
  times.reserve(kMaxRampSteps);
  times.push_back(1.0);
  while (times.size() < kMaxRampSteps) {
    double time = kMaxGrowth;
    for (std::size_t k = 0; k < weights.size(); ++k) {
      time = std::min(time, (slowest_done - free_at[k]) / to_the_door[k]);
    }
    times.push_back(time);
    arrival = 0.0;
    for (std::size_t k = 0; k < weights.size(); ++k) {
      arrival = std::max(arrival, free_at[k]) + weights[k] * time;
      free_at[k] = arrival;
    }
    slowest_done += time;
  }
  return times;
}

}  // namespace

Ramp::Ramp(const BacklogFlow& flow) : flow_(flow) {
  const std::span<const double> weights(flow.weights());
  const std::span<const double> before = weights.first(flow.slowest_stage());
  const std::span<const double> after = weights.subspan(flow.slowest_stage() + 1);
  before_ = std::accumulate(before.begin(), before.end(), 0.0);
  after_ = std::accumulate(after.begin(), after.end(), 0.0);
  rise_ = fastest_growth(before);
  const std::vector<double> mirrored(after.rbegin(), after.rend());
  fall_ = fastest_growth(mirrored);
}

void Ramp::fill(std::vector<double>& step_ms, std::size_t num_steps, double end_ratio) const {
  step_ms.assign(num_steps, std::numeric_limits<double>::infinity());
  if (rise_.empty() && fall_.empty()) {
    step_ms.assign(num_steps, 1.0);
  }
  for (std::size_t i = 0; i < num_steps && !rise_.empty(); ++i) {
    step_ms[i] = rise_[i];
  }
  for (std::size_t i = 0; i < num_steps && !fall_.empty(); ++i) {
    step_ms[i] = std::min(step_ms[i], end_ratio * fall_[num_steps - 1 - i]);
  }
  const auto steps = static_cast<double>(num_steps);
  const double scale =
      steps * flow_.step_ms(steps) / std::accumulate(step_ms.begin(), step_ms.end(), 0.0);
  for (double& time_ms : step_ms) {
    time_ms *= scale;
  }
}

std::vector<double> Ramp::best_step_ms(double fewest, double most) const {
  const auto last = static_cast<double>(kMaxRampSteps);
  const double equal_steps = flow_.best_steps(fewest, most);
  std::vector<double> best{flow_.step_ms(1.0)};
  double best_makespan_ms = std::numeric_limits<double>::infinity();
  std::vector<double> step_ms;
  std::size_t tried = 0;
  for (const double ratio : kStepsRatios) {
    const double num_steps =
        std::clamp(std::round(ratio * equal_steps), std::min(fewest, last), std::min(most, last));
    const auto whole_steps = static_cast<std::size_t>(num_steps);
    if (whole_steps == tried) {
      continue;
    }
    tried = whole_steps;
    for (const double end_ratio : kEndRatios) {
      fill(step_ms, whole_steps, end_ratio);
      if (makespan_ms(step_ms) < best_makespan_ms) {
        best_makespan_ms = makespan_ms(step_ms);
        best = step_ms;
      }
      if (rise_.empty() || fall_.empty()) {
        break;
      }
    }
  }
  return best;
}

double Ramp::makespan_ms(std::span<const double> step_ms) const {
  return before_ * step_ms.front() + std::accumulate(step_ms.begin(), step_ms.end(), 0.0) +
         after_ * step_ms.back();
}

}  // namespace cpp_chunk
