#include "cpp_chunk/trials.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace cpp_chunk {
namespace {

// Steps that all trial plans of one call may have together: what bounds its time.
constexpr std::int64_t kTrialSteps = 4000;
// The best of a sample is compared once more, on one so many times as large.
constexpr double kRecheckedTimes = 8.0;
// No sample takes as many full steps, nor a backlog without one, unless max_step_ms is very short.
constexpr std::int64_t kMostFullSteps = 16'000;
// Targets between the closed form's and the cap's.
constexpr int kRaisePoints = 12;
// On a sample, full steps are preferred also where they are behind by what a sample may be off.
constexpr double kSampledGain = 1.01;

}  // namespace

Trials::Trials(const Stages& stages, std::size_t priced_stage, std::span<const PromptWork> prompts,
               const ChunkLimits& limits, double cap_ms, double full_steps)
    : stages_(stages),
      solver_(stages[priced_stage], limits),
      prompts_(prompts),
      full_(cap_ms),
      steps_left_(kTrialSteps),
      best_(full_) {
  solver_.set_stages(stages, priced_stage);
  take_sample(full_steps / kSampleSteps);
}

void Trials::run(const StepTargets& targets) {
  FlowShop flow_shop(stages_, times_);
  const bool is_complete =
      pack(targets, flow_shop, {.max_steps = steps_left_, .makespan_ms = best_makespan_ms_});
  steps_left_ -= flow_shop.num_steps();
  if (is_complete && flow_shop.makespan_ms() < best_makespan_ms_) {
    best_makespan_ms_ = flow_shop.makespan_ms();
    best_ = targets;
  }
}

void Trials::run(double target_ms) {
  run(StepTargets(std::min(target_ms, solver_.limits().max_step_ms)));
}

bool Trials::can_try(double num_steps) const {
  return 1.1 * num_steps <= times_ * static_cast<double>(steps_left_);
}

void Trials::run_between(double shortest_ms, double longest_ms) {
  if (!(shortest_ms > 0.0 && longest_ms > shortest_ms)) {
    return;
  }
  const double ratio = std::pow(longest_ms / shortest_ms, 1.0 / kRaisePoints);
  double target_ms = shortest_ms;
  for (int point = 1; point < kRaisePoints; ++point) {
    target_ms *= ratio;
    run(target_ms);
  }
}

// Runs trials of other than equal times: the best of them is kept only if it takes less than gain
// times as long as the best before. They may take num_steps steps, even if there are fewer left.
template <typename Run>
void Trials::run_others(double gain, std::int64_t num_steps, Run&& run_them) {
  steps_left_ = std::max(steps_left_, num_steps);
  const StepTargets before = best_;
  const double before_ms = best_makespan_ms_;
  const double limit_ms = gain * before_ms;
  best_makespan_ms_ = limit_ms;
  run_them();
  if (best_makespan_ms_ >= limit_ms) {
    best_ = before;
    best_makespan_ms_ = before_ms;
  }
}

void Trials::run_row(const std::vector<double>& step_ms, int num_longer, double spacing) {
  run_others(kOtherGain, static_cast<std::int64_t>(step_ms.size()) + 1, [&] {
    for (int longer = 0; longer <= num_longer; ++longer) {
      std::vector<double> scaled = step_ms;
      for (double& time_ms : scaled) {
        time_ms = std::min((1.0 + spacing * longer) * time_ms, solver_.limits().max_step_ms);
      }
      run(StepTargets(std::move(scaled)));
    }
  });
}

void Trials::run_full_steps() {
  run_others(is_sampled() ? kSampledGain : kOtherGain,
             static_cast<std::int64_t>(2.0 * kSampleSteps),
             [this] { run(StepTargets(full_.longest_ms(), Rest::as_it_falls)); });
}

void Trials::recheck() {
  take_sample(times_ / kRecheckedTimes);
  const StepTargets best = best_;
  best_ = full_;
  steps_left_ = kMostFullSteps;
  run(best);
}

// Compares on 1/times of the backlog from now on, beginning with full steps.
void Trials::take_sample(double times) {
  times_ = times > 1.0 ? sample_prompts(prompts_, times, solver_.limits().alignment, sample_) : 1.0;
  FlowShop flow_shop(stages_, times_);
  best_makespan_ms_ = pack(full_, flow_shop, {.max_steps = kMostFullSteps})
                          ? flow_shop.makespan_ms()
                          : std::numeric_limits<double>::infinity();
}

bool Trials::pack(const StepTargets& targets, FlowShop& flow_shop, const GiveUp& give_up) {
  const auto pack_all = [&](const auto& prompts) {
    return pack_steps(solver_, std::span(prompts), targets, flow_shop, give_up,
                      [](const Chunk&) {});
  };
  return is_sampled() ? pack_all(std::as_const(sample_)) : pack_all(prompts_);
}

}  // namespace cpp_chunk
