#include "cpp_chunk/target.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "cpp_chunk/backlog_flow.h"
#include "cpp_chunk/backlog_sample.h"
#include "cpp_chunk/check.h"
#include "cpp_chunk/fixed_chunks.h"
#include "cpp_chunk/flow_shop.h"
#include "cpp_chunk/packing.h"
#include "cpp_chunk/ramp.h"

namespace cpp_chunk {
namespace {

// Steps that all trial plans of one call may have together: what bounds its time.
constexpr std::int64_t kTrialSteps = 4000;
// Most steps of a plan worth a trial: it leaves some for others.
constexpr double kMostTriedSteps = 3000.0;
// A backlog that takes more full steps is compared on a sample of it that takes so many.
constexpr double kSampleSteps = 512.0;
// The best of a sample is compared once more, on one so many times as large.
constexpr double kRecheckedTimes = 8.0;
// No sample takes as many full steps, nor a backlog without one, unless max_step_ms is very short.
constexpr std::int64_t kMostFullSteps = 16'000;
constexpr std::array<double, 13> kStepRatios = {0.93, 1.07, 0.87, 1.15, 0.8, 1.3, 0.7,
                                                1.5,  0.6,  1.75, 0.5,  2.0, 0.33};
// Targets between the closed form's and the cap's.
constexpr int kRaisePoints = 12;
// Targets around the best trial: alignment and tails make the plan jump there.
constexpr std::array<double, 8> kTargetRatios = {0.985, 1.015, 0.97, 1.03, 0.94, 1.06, 0.9, 1.1};
// The same for a ramp, whose row should just hold the work.
constexpr std::array<double, 11> kRampRatios = {1.0,  1.005, 1.01, 1.015, 1.02, 1.03,
                                                1.04, 1.06,  0.99, 1.08,  0.97};
// How much sooner other than equal times must finish to be preferred: their short steps cost what
// models tend to miss, so only where equal times are behind.
constexpr double kOtherGain = 0.9955;
// On a sample, full steps are preferred also where they are behind by what a sample may be off.
constexpr double kSampledGain = 1.01;

// Compares real plans with full steps, on the backlog or on a sample of it, within a bounded number
// of steps in all.
class Trials {
 public:
  // cap_ms: the time of a step that only the cap ends; full_steps: how many of them there are.
  Trials(const Stages& stages, std::size_t priced_stage, std::span<const PromptWork> prompts,
         const ChunkLimits& limits, double cap_ms, double full_steps)
      : stages_(stages),
        solver_(stages[priced_stage], limits),
        prompts_(prompts),
        full_(cap_ms),
        best_(full_) {
    solver_.set_stages(stages, priced_stage);
    take_sample(full_steps / kSampleSteps);
  }

  void run(const StepTargets& targets) {
    const double longest_ms = targets.longest_ms();
    if (!(longest_ms >= 0.0) || std::isinf(longest_ms)) {
      return;
    }
    FlowShop flow_shop(stages_, times_);
    const bool is_complete =
        pack(targets, flow_shop, {.max_steps = steps_left_, .makespan_ms = best_makespan_ms_});
    steps_left_ -= flow_shop.num_steps();
    if (is_complete && flow_shop.makespan_ms() < best_makespan_ms_) {
      best_makespan_ms_ = flow_shop.makespan_ms();
      best_ = targets;
    }
  }

  void run(double target_ms) {
    run(StepTargets(std::min(target_ms, solver_.limits().max_step_ms)));
  }

  // Whether a plan of about so many steps can be tried still.
  [[nodiscard]] bool can_try(double num_steps) const {
    return 1.1 * num_steps <= times_ * static_cast<double>(steps_left_);
  }

  // Where the history itself is dear, equal steps need not exist below some target; so also look
  // between the best one by the closed form and the longest.
  void run_between(double shortest_ms, double longest_ms) {
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

  // Other than equal times are taken only where they take less than gain times as long.
  // Equal times may have used up all steps: num_steps are left to these.
  template <typename Run>
  void run_others(double gain, std::int64_t num_steps, Run&& run_them) {
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

  // Also a little longer and shorter than the row was made for.
  void run_row(const std::vector<double>& step_ms, std::span<const double> ratios) {
    run_others(kOtherGain, static_cast<std::int64_t>(step_ms.size()) + 1, [&] {
      for (const double ratio : ratios) {
        std::vector<double> scaled = step_ms;
        for (double& time_ms : scaled) {
          time_ms = std::min(ratio * time_ms, solver_.limits().max_step_ms);
        }
        run(StepTargets(std::move(scaled)));
      }
    });
  }

  // Without sharing out a prompt's rest: what an engine without us does.
  void run_full_steps() {
    run_others(is_sampled() ? kSampledGain : kOtherGain,
               static_cast<std::int64_t>(2.0 * kSampleSteps),
               [this] { run(StepTargets(full_.longest_ms(), Rest::as_it_falls)); });
  }

  // What a sample liked best must be better than full steps on a larger one too.
  void recheck() {
    take_sample(times_ / kRecheckedTimes);
    const StepTargets best = best_;
    best_ = full_;
    steps_left_ = kMostFullSteps;
    run(best);
  }

  // A row of times is made for a whole backlog: no sample can follow it.
  [[nodiscard]] bool is_sampled() const { return times_ > 1.0; }
  [[nodiscard]] const StepTargets& best() const { return best_; }
  [[nodiscard]] double best_makespan_ms() const { return best_makespan_ms_; }

 private:
  // Compares on 1/times of the backlog from now on, beginning with full steps.
  void take_sample(double times) {
    times_ =
        times > 1.0 ? sample_prompts(prompts_, times, solver_.limits().alignment, sample_) : 1.0;
    FlowShop flow_shop(stages_, times_);
    best_makespan_ms_ = pack(full_, flow_shop, {.max_steps = kMostFullSteps})
                            ? flow_shop.makespan_ms()
                            : std::numeric_limits<double>::infinity();
  }

  bool pack(const StepTargets& targets, FlowShop& flow_shop, const GiveUp& give_up) {
    const auto pack_all = [&](const auto& prompts) {
      return pack_steps(solver_, std::span(prompts), targets, flow_shop, give_up,
                        [](const Chunk&) {});
    };
    return is_sampled() ? pack_all(std::as_const(sample_)) : pack_all(prompts_);
  }

  const Stages& stages_;
  ChunkSolver solver_;
  std::span<const PromptWork> prompts_;
  std::vector<PromptPiece> sample_;
  double times_ = 1.0;  // how many samples make the backlog
  StepTargets full_;
  std::int64_t steps_left_ = kTrialSteps;
  StepTargets best_;
  double best_makespan_ms_ = 0.0;
};

// A step that nothing but the cap ends: at most so many tokens, all behind the deepest history, and
// every history in it.
double cap_target_ms(const LatencyModel& model, std::span<const PromptWork> prompts,
                     const ChunkLimits& limits) {
  StepFeatures features;
  double deepest = 0.0;
  for (const PromptWork& prompt : prompts) {
    const auto history = static_cast<double>(prompt.num_computed_tokens + prompt.num_tokens);
    deepest = std::max(deepest, history);
    features.context_sum += history;
    features.token_sum += static_cast<double>(prompt.num_tokens);
  }
  features.token_sum = std::min(features.token_sum, static_cast<double>(limits.max_chunk_tokens));
  features.half_square_sum = 0.5 * features.token_sum * features.token_sum;
  features.cross_sum = features.token_sum * deepest;
  return std::min(
      {model.step_ms(features), limits.max_step_ms, std::numeric_limits<double>::max()});
}

// The numbers of steps that the limits leave.
struct StepRange {
  double fewest;
  double most;

  StepRange(double total_tokens, const ChunkLimits& limits)
      : fewest(
            std::max(1.0, std::ceil(total_tokens / static_cast<double>(limits.max_chunk_tokens)))),
        most(std::max(fewest,
                      std::ceil(total_tokens / static_cast<double>(std::max(limits.min_chunk_tokens,
                                                                            std::int64_t{1}))))) {
    // What is to be believed must be tried.
    most = std::min(most, std::max(1.0, fewest / kSampleSteps) * kMostTriedSteps);
  }
};

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

// Runs the times of each usual size that beats what there is: not only of the best, which a plan
// may be unable to follow where a last chunk can be had with the one before it.
void try_fixed_sizes(const Stages& stages, const LatencyModel& model, const PromptWork& prompt,
                     const ChunkLimits& limits, Trials& trials) {
  std::vector<double> step_ms;
  for (const std::int64_t size : usual_fixed_sizes(limits, prompt.num_tokens)) {
    const double limit_ms = kOtherGain * trials.best_makespan_ms();
    const FixedChunks fixed =
        cut_into_fixed_chunks(stages, prompt, size, limits.alignment, limit_ms);
    if (fixed.makespan_ms >= limit_ms) {
      continue;
    }
    step_ms.clear();
    for (const Chunk& chunk : fixed.chunks) {
      step_ms.push_back(model.step_ms(std::span(&chunk, 1)));
    }
    trials.run_row(step_ms, std::array{1.0});
  }
}

}  // namespace

StepTargets best_step_targets(const Stages& stages, std::span<const PromptWork> prompts,
                              const ChunkLimits& limits) {
  check_prompts(prompts);
  const BacklogFlow flow(stages, prompts);
  const LatencyModel& model = stages[flow.slowest_stage()];
  const double cap_ms = cap_target_ms(model, prompts, limits);
  const StepRange range(flow.total_tokens(), limits);
  Trials trials(stages, flow.slowest_stage(), prompts, limits, cap_ms, range.fewest);
  try_equal_steps(flow, range, cap_ms, trials);
  if (!stages.are_equal() && !trials.is_sampled()) {
    const Ramp ramp(flow);
    trials.run_row(ramp.best_step_ms(range.fewest, range.most), kRampRatios);
  }
  if (prompts.size() > 1) {
    trials.run_full_steps();
  }
  if (trials.is_sampled()) {
    trials.recheck();
  }
  if (prompts.size() == 1 && !trials.is_sampled()) {
    try_fixed_sizes(stages, model, prompts.front(), limits, trials);
  }
  return trials.best();
}

double best_target_ms(const Stages& stages, std::span<const PromptWork> prompts,
                      const ChunkLimits& limits) {
  return best_step_targets(stages, prompts, limits).longest_ms();
}

std::size_t slowest_stage(const Stages& stages, std::span<const PromptWork> prompts) {
  check_prompts(prompts);
  return stages.are_equal() ? 0 : BacklogFlow(stages, prompts).slowest_stage();
}

double base_target_ms(const LatencyModel& model, std::int64_t base_chunk_tokens) {
  check_count("base_chunk_tokens", base_chunk_tokens, 1);
  StepFeatures features;
  features.add({.num_tokens = base_chunk_tokens, .num_computed_tokens = 0});
  return model.step_ms(features);
}

}  // namespace cpp_chunk
