#include "cpp_chunk/target.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cpp_chunk/backlog_flow.h"
#include "cpp_chunk/error.h"
#include "cpp_chunk/fixed_chunks.h"
#include "cpp_chunk/flow_shop.h"
#include "cpp_chunk/packing.h"
#include "cpp_chunk/ramp.h"

namespace cpp_chunk {
namespace {

// Steps that all trial plans of one call may have together: what bounds its time.
constexpr std::int64_t kTrialSteps = 4000;
// A plan of this many steps is still worth a trial of its own.
constexpr double kMostGrantedSteps = 8192.0;
// Most steps worth considering, for each stage.
constexpr double kMaxStepsPerStage = 200.0;
// With few steps each whole number is a different plan; beyond, a ratio is enough.
constexpr double kFewSteps = 12.0;
constexpr std::array<double, 13> kStepRatios = {0.93, 1.07, 0.87, 1.15, 0.8, 1.3, 0.7,
                                                1.5,  0.6,  1.75, 0.5,  2.0, 0.33};
// Targets between the closed form's and the cap's.
constexpr int kRaisePoints = 12;
// Targets around the best trial: alignment and tails make the plan jump there.
constexpr std::array<double, 8> kTargetRatios = {0.985, 1.015, 0.97, 1.03, 0.94, 1.06, 0.9, 1.1};
// The same for a ramp, whose row should just hold the work.
constexpr std::array<double, 11> kRampRatios = {1.0,  1.005, 1.01, 1.015, 1.02, 1.03,
                                                1.04, 1.06,  0.99, 1.08,  0.97};
// How much sooner a ramp must finish to be preferred to equal times, and a fixed size: its many
// short steps cost what models tend to miss, so only where equal times are clearly behind.
constexpr double kRampGain = 0.995;
constexpr double kFixedGain = 0.9905;

// Compares real plans, within a bounded number of steps in all.
class Trials {
 public:
  Trials(const Stages& stages, const LatencyModel& model, std::span<const PromptWork> prompts,
         const ChunkLimits& limits)
      : solver_(model, limits), prompts_(prompts), flow_shop_(stages) {}

  void run(const StepTargets& targets) {
    const double longest_ms = targets.longest_ms();
    if (!(longest_ms >= 0.0) || std::isinf(longest_ms) || steps_left_ <= 0) {
      return;
    }
    const bool is_complete = pack_steps(
        solver_, prompts_, targets, flow_shop_,
        {.max_steps = steps_left_, .makespan_ms = best_makespan_ms_}, [](const Chunk&) {});
    steps_left_ -= flow_shop_.num_steps();
    if (is_complete && flow_shop_.makespan_ms() < best_makespan_ms_) {
      best_makespan_ms_ = flow_shop_.makespan_ms();
      best_ = targets;
    }
  }

  void run(double target_ms) {
    run(StepTargets(std::min(target_ms, solver_.limits().max_step_ms)));
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

  // A row of unequal times is taken only where it is clearly better than what there is. It is
  // tried a little longer and shorter than it was made for.
  void run_row(const std::vector<double>& step_ms, std::span<const double> ratios, double gain) {
    // Equal times may have used up all steps: a row is still tried, at least as it was made.
    grant(static_cast<std::int64_t>(step_ms.size()) + 1);
    const StepTargets before = best_;
    const double before_ms = best_makespan_ms_;
    best_makespan_ms_ *= gain;
    const double limit_ms = best_makespan_ms_;
    for (const double ratio : ratios) {
      std::vector<double> scaled = step_ms;
      for (double& time_ms : scaled) {
        time_ms = std::min(ratio * time_ms, solver_.limits().max_step_ms);
      }
      run(StepTargets(std::move(scaled)));
    }
    if (best_makespan_ms_ >= limit_ms) {
      best_ = before;
      best_makespan_ms_ = before_ms;
    }
  }

  [[nodiscard]] bool has_best() const { return std::isfinite(best_makespan_ms_); }
  // Of the best complete plan; meaningless without one.
  [[nodiscard]] const StepTargets& best() const { return best_; }
  [[nodiscard]] double best_makespan_ms() const { return best_makespan_ms_; }
  [[nodiscard]] std::int64_t steps_left() const { return steps_left_; }

  // The next trial may have so many steps, whatever those before it have used up.
  void grant(std::int64_t num_steps) { steps_left_ = std::max(steps_left_, num_steps); }

 private:
  ChunkSolver solver_;
  std::span<const PromptWork> prompts_;
  FlowShop flow_shop_;
  std::int64_t steps_left_ = kTrialSteps;
  StepTargets best_{0.0};
  double best_makespan_ms_ = std::numeric_limits<double>::infinity();
};

// A step that nothing but the cap ends: its largest chunks after the deepest histories.
double cap_target_ms(const LatencyModel& model, std::span<const PromptWork> prompts,
                     const ChunkLimits& limits) {
  double target_ms = 0.0;
  for (const PromptWork& prompt : prompts) {
    const Chunk chunk{.num_tokens = std::min(prompt.num_tokens, limits.max_chunk_tokens),
                      .num_computed_tokens = prompt.num_computed_tokens + prompt.num_tokens};
    StepFeatures features;
    features.add(chunk);
    target_ms += model.chunks_ms(features);
  }
  return std::min({target_ms + model.coefficients().constant, limits.max_step_ms,
                   std::numeric_limits<double>::max()});
}

double deepest_history(std::span<const PromptWork> prompts) {
  double deepest = 0.0;
  for (const PromptWork& prompt : prompts) {
    deepest =
        std::max(deepest, static_cast<double>(prompt.num_computed_tokens + prompt.num_tokens));
  }
  return deepest;
}

// The numbers of steps that the limits leave.
struct StepRange {
  double fewest;
  double most;

  StepRange(const Stages& stages, const LatencyModel& model, double total_tokens,
            const ChunkLimits& limits)
      : fewest(
            std::max(1.0, std::ceil(total_tokens / static_cast<double>(limits.max_chunk_tokens)))),
        most(std::max(
            fewest, std::ceil(total_tokens / static_cast<double>(
                                                 std::max({limits.min_chunk_tokens,
                                                           limits.alignment, std::int64_t{1}}))))) {
    const Coefficients& cost = model.coefficients();
    if (cost.quadratic <= cost.cross) {
      // Cutting saves no work then: beyond this only (S-1)/N of it is left to gain.
      most = std::clamp(kMaxStepsPerStage * static_cast<double>(stages.size()), fewest, most);
    }
  }
};

// Runs equal steps; returns the closed form's target where no trial can beat it.
std::optional<double> try_equal_steps(const Stages& stages, const BacklogFlow& flow,
                                      std::span<const PromptWork> prompts, const StepRange& range,
                                      double cap_ms, Trials& trials) {
  const LatencyModel& model = stages[flow.slowest_stage()];
  const double best_steps = flow.best_steps(range.fewest, range.most);
  const auto try_steps = [&](double num_steps) {
    if (num_steps >= range.fewest && num_steps <= range.most &&
        1.1 * num_steps <= static_cast<double>(trials.steps_left())) {
      trials.run(flow.step_ms(num_steps));
    }
  };
  bool is_untried = false;
  // First, since it is short and its makespan ends the bad trials early.
  if (1.1 * range.fewest <= static_cast<double>(trials.steps_left())) {
    trials.run(cap_ms);
  }
  if (best_steps <= kFewSteps) {
    const auto last = static_cast<int>(2.0 * best_steps) + 4;
    for (int num_steps = static_cast<int>(range.fewest); num_steps <= last; ++num_steps) {
      try_steps(num_steps);
    }
  } else {
    try_steps(best_steps);
    is_untried = trials.steps_left() <= 0 || 1.1 * best_steps > static_cast<double>(kTrialSteps);
    for (const double ratio : kStepRatios) {
      try_steps(std::clamp(ratio * best_steps, range.fewest, range.most));
    }
  }
  const double closed_form_ms = flow.step_ms(best_steps);
  if (is_untried && best_steps <= kMostGrantedSteps) {
    // Many steps, but not too many for one more plan: better than to believe the closed form.
    trials.grant(static_cast<std::int64_t>(1.2 * best_steps) + 1);
    trials.run(closed_form_ms);
    is_untried = false;
  }
  if (!trials.has_best() ||
      (is_untried && stages.are_equal() &&
       flow.makespan_ms(best_steps) < trials.best_makespan_ms() &&
       closed_form_ms > model.coefficients().constant +
                            model.coefficients().context * deepest_history(prompts))) {
    // So many steps that one more or less changes nothing, or costs beyond what a double holds.
    // Of unequal stages only a real plan is believed: which is the slowest changes with the steps.
    return std::isfinite(closed_form_ms) ? std::min(closed_form_ms, cap_ms) : cap_ms;
  }
  trials.run_between(closed_form_ms, cap_ms);
  const double center_ms = trials.best().longest_ms();
  for (const double ratio : kTargetRatios) {
    trials.run(ratio * center_ms);
  }
  return std::nullopt;
}

// Runs the times of each usual size that beats what there is: not only of the best, which a plan
// may be unable to follow because of its tail.
void try_fixed_sizes(const Stages& stages, const LatencyModel& model, const PromptWork& prompt,
                     const ChunkLimits& limits, Trials& trials) {
  std::vector<double> step_ms;
  for (const std::int64_t size : usual_fixed_sizes(limits, prompt.num_tokens)) {
    const double limit_ms = kFixedGain * trials.best_makespan_ms();
    const FixedChunks fixed =
        cut_into_fixed_chunks(stages, prompt, size, limits.alignment, limit_ms);
    if (fixed.makespan_ms >= limit_ms) {
      continue;
    }
    step_ms.clear();
    for (const Chunk& chunk : fixed.chunks) {
      step_ms.push_back(model.step_ms(std::span(&chunk, 1)));
    }
    trials.run_row(step_ms, std::array{1.0}, kFixedGain);
  }
}

}  // namespace

StepTargets best_step_targets(const Stages& stages, std::span<const PromptWork> prompts,
                              const ChunkLimits& limits) {
  limits.check();
  check_prompts(prompts);
  const BacklogFlow flow(stages, prompts);
  const LatencyModel& model = stages[flow.slowest_stage()];
  const double cap_ms = cap_target_ms(model, prompts, limits);
  // Cutting gains nothing there; but where history is paid for, sizes still do.
  if (stages.size() == 1 && model.coefficients().quadratic <= model.coefficients().cross &&
      model.coefficients().context <= 0.0) {
    return StepTargets(cap_ms);
  }
  const StepRange range(stages, model, flow.total_tokens(), limits);
  Trials trials(stages, model, prompts, limits);
  if (const std::optional<double> closed_form_ms =
          try_equal_steps(stages, flow, prompts, range, cap_ms, trials)) {
    return StepTargets(*closed_form_ms);
  }
  if (!stages.are_equal()) {
    const Ramp ramp(flow);
    trials.run_row(ramp.best_step_ms(range.fewest, range.most), kRampRatios, kRampGain);
  }
  if (prompts.size() == 1) {
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
  if (base_chunk_tokens < 1 || base_chunk_tokens > kMaxTokens) {
    throw InvalidArgument("base_chunk_tokens must be in [1, " + std::to_string(kMaxTokens) +
                          "], got " + std::to_string(base_chunk_tokens));
  }
  StepFeatures features;
  features.add({.num_tokens = base_chunk_tokens, .num_computed_tokens = 0});
  return model.step_ms(features);
}

double makespan_bound_ms(const Stages& stages, std::span<const PromptWork> prompts) {
  check_prompts(prompts);
  const BacklogFlow flow(stages, prompts);
  const double most = std::max(1.0, flow.total_tokens());
  const double equal_ms = flow.makespan_ms(flow.best_steps(1.0, most));
  if (stages.are_equal()) {
    return equal_ms;
  }
  const Ramp ramp(flow);
  return std::min(equal_ms, ramp.makespan_ms(ramp.best_step_ms(1.0, most)));
}

}  // namespace cpp_chunk
