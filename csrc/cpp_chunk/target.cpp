#include "cpp_chunk/target.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>

#include "cpp_chunk/error.h"

namespace cpp_chunk {
namespace {

// Steps that all trial plans of one call may have together: what bounds its time.
constexpr std::int64_t kTrialSteps = 4000;
// Most steps worth considering, for each stage.
constexpr double kMaxStepsPerStage = 200.0;
// Points of the scan for the best number of steps. The makespan is flat there: points 15 % apart
// lose a quarter of a per cent before the trials refine them.
constexpr int kScanPoints = 64;
// With few steps each whole number is a different plan; beyond, a ratio is enough.
constexpr double kFewSteps = 12.0;
constexpr std::array<double, 13> kStepRatios = {0.93, 1.07, 0.87, 1.15, 0.8, 1.3, 0.7,
                                                1.5,  0.6,  1.75, 0.5,  2.0, 0.33};
// Targets between the closed form's and the cap's.
constexpr int kRaisePoints = 12;
// Targets around the best trial: alignment and tails make the plan jump there.
constexpr std::array<double, 8> kTargetRatios = {0.985, 1.015, 0.97, 1.03, 0.94, 1.06, 0.9, 1.1};

// The continuous makespan of a backlog cut into steps of equal time.
class Flow {
 public:
  Flow(const LatencyModel& model, std::span<const PromptWork> prompts, std::int64_t num_stages)
      : cost_(model.coefficients()), prompts_(prompts), num_stages_(num_stages) {
    for (const PromptWork& prompt : prompts) {
      uncut_ms_ += uncut_ms(prompt);
      total_tokens_ += static_cast<double>(prompt.num_tokens);
    }
  }

  // Variable work when cut into num_steps steps, each prompt getting steps by its work.
  [[nodiscard]] double work_ms(double num_steps) const {
    double work = uncut_ms_;
    if (cost_.quadratic == cost_.cross && cost_.context <= 0.0) {
      return work;
    }
    for (const PromptWork& prompt : prompts_) {
      if (prompt.num_tokens == 0) {
        continue;
      }
      const auto num_tokens = static_cast<double>(prompt.num_tokens);
      const double part =
          uncut_ms_ > 0.0 ? uncut_ms(prompt) / uncut_ms_ : num_tokens / total_tokens_;
      const double cuts = std::max(1.0, num_steps * part);
      work += 0.5 * (cost_.quadratic - cost_.cross) * num_tokens * num_tokens / cuts;
      work += cost_.context * (cuts * static_cast<double>(prompt.num_computed_tokens) +
                               0.5 * num_tokens * (cuts - 1.0));
    }
    return work;
  }

  [[nodiscard]] double target_ms(double num_steps) const {
    return cost_.constant + work_ms(num_steps) / num_steps;
  }

  [[nodiscard]] double makespan_ms(double num_steps) const {
    return (num_steps + static_cast<double>(num_stages_ - 1)) * target_ms(num_steps);
  }

  // The number of steps with the shortest makespan, not always a whole one.
  [[nodiscard]] double best_steps(double fewest, double most) const {
    double best = fewest;
    double best_makespan_ms = makespan_ms(fewest);
    for (int point = 1; point <= kScanPoints; ++point) {
      const double num_steps = fewest * std::pow(most / fewest, point / double{kScanPoints});
      const double candidate_ms = makespan_ms(num_steps);
      if (candidate_ms < best_makespan_ms) {
        best_makespan_ms = candidate_ms;
        best = num_steps;
      }
    }
    return best;
  }

  [[nodiscard]] double total_tokens() const { return total_tokens_; }

 private:
  [[nodiscard]] double uncut_ms(const PromptWork& prompt) const {
    const auto num_tokens = static_cast<double>(prompt.num_tokens);
    const auto history = static_cast<double>(prompt.num_computed_tokens);
    return num_tokens * (cost_.cross * (history + 0.5 * num_tokens) + cost_.linear);
  }

  Coefficients cost_;
  std::span<const PromptWork> prompts_;
  std::int64_t num_stages_;
  double uncut_ms_ = 0.0;
  double total_tokens_ = 0.0;
};

// Compares real plans, within a bounded number of steps in all.
class Trials {
 public:
  Trials(const LatencyModel& model, std::span<const PromptWork> prompts, std::int64_t num_stages,
         const ChunkLimits& limits)
      : solver_(model, limits), prompts_(prompts), num_stages_(num_stages) {}

  void run(double target_ms) {
    if (!(target_ms >= 0.0) || std::isinf(target_ms) || steps_left_ <= 0) {
      return;
    }
    const PackedSteps packed = pack_steps(
        solver_, prompts_, target_ms, num_stages_,
        {.max_steps = steps_left_, .makespan_ms = best_makespan_ms_}, [](const Chunk&) {});
    steps_left_ -= packed.num_steps;
    const double makespan_ms = packed.makespan_ms(num_stages_);
    if (packed.is_complete && makespan_ms < best_makespan_ms_) {
      best_makespan_ms_ = makespan_ms;
      best_target_ms_ = target_ms;
    }
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

  [[nodiscard]] bool has_best() const { return std::isfinite(best_makespan_ms_); }
  [[nodiscard]] double best_target_ms() const { return best_target_ms_; }
  [[nodiscard]] double best_makespan_ms() const { return best_makespan_ms_; }
  [[nodiscard]] std::int64_t steps_left() const { return steps_left_; }

 private:
  ChunkSolver solver_;
  std::span<const PromptWork> prompts_;
  std::int64_t num_stages_;
  std::int64_t steps_left_ = kTrialSteps;
  double best_target_ms_ = 0.0;
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
  return std::min(target_ms + model.coefficients().constant, std::numeric_limits<double>::max());
}

double deepest_history(std::span<const PromptWork> prompts) {
  double deepest = 0.0;
  for (const PromptWork& prompt : prompts) {
    deepest =
        std::max(deepest, static_cast<double>(prompt.num_computed_tokens + prompt.num_tokens));
  }
  return deepest;
}

void check_prompts(std::span<const PromptWork> prompts) {
  bool has_work = false;
  for (const PromptWork& prompt : prompts) {
    if (!is_valid(
            {.num_tokens = prompt.num_tokens, .num_computed_tokens = prompt.num_computed_tokens})) {
      throw InvalidArgument("a prompt's token counts must be in [0, " + std::to_string(kMaxTokens) +
                            "], got " + std::to_string(prompt.num_tokens) + " remaining and " +
                            std::to_string(prompt.num_computed_tokens) + " computed");
    }
    has_work = has_work || prompt.num_tokens > 0;
  }
  if (!has_work) {
    throw InvalidArgument("a backlog needs at least one token to compute, got " +
                          std::to_string(prompts.size()) + " prompts without any");
  }
}

}  // namespace

double best_target_ms(const LatencyModel& model, std::span<const PromptWork> prompts,
                      std::int64_t num_stages, const ChunkLimits& limits) {
  limits.check();
  check_prompts(prompts);
  if (num_stages < 1 || num_stages > kMaxStages) {
    throw InvalidArgument("num_stages must be in [1, " + std::to_string(kMaxStages) + "], got " +
                          std::to_string(num_stages));
  }
  const double cap_ms = cap_target_ms(model, prompts, limits);
  const Coefficients& cost = model.coefficients();
  if (num_stages == 1 && cost.quadratic <= cost.cross) {
    return cap_ms;
  }

  const Flow flow(model, prompts, num_stages);
  const double fewest =
      std::max(1.0, std::ceil(flow.total_tokens() / static_cast<double>(limits.max_chunk_tokens)));
  double most = std::max(
      fewest, std::ceil(flow.total_tokens() /
                        static_cast<double>(std::max(
                            {limits.min_chunk_tokens, limits.alignment, std::int64_t{1}}))));

  if (cost.quadratic <= cost.cross) {
    // Cutting saves no work then: beyond this only (S-1)/N of it is left to gain.
    most = std::clamp(kMaxStepsPerStage * static_cast<double>(num_stages), fewest, most);
  }

  const double best_steps = flow.best_steps(fewest, most);

  Trials trials(model, prompts, num_stages, limits);
  const auto try_steps = [&](double num_steps) {
    if (num_steps >= fewest && num_steps <= most &&
        1.1 * num_steps <= static_cast<double>(trials.steps_left())) {
      trials.run(flow.target_ms(num_steps));
    }
  };
  bool is_untried = false;
  // First, since it is short and its makespan ends the bad trials early.
  if (1.1 * fewest <= static_cast<double>(trials.steps_left())) {
    trials.run(cap_ms);
  }
  if (best_steps <= kFewSteps) {
    const auto last = static_cast<int>(2.0 * best_steps) + 4;
    for (int num_steps = static_cast<int>(fewest); num_steps <= last; ++num_steps) {
      try_steps(num_steps);
    }
  } else {
    try_steps(best_steps);
    is_untried = trials.steps_left() <= 0 || 1.1 * best_steps > static_cast<double>(kTrialSteps);
    for (const double ratio : kStepRatios) {
      try_steps(std::clamp(ratio * best_steps, fewest, most));
    }
  }
  const double closed_form_ms = flow.target_ms(best_steps);
  if (!trials.has_best() ||
      (is_untried && flow.makespan_ms(best_steps) < trials.best_makespan_ms() &&
       closed_form_ms > cost.constant + cost.context * deepest_history(prompts))) {
    // So many steps that one more or less changes nothing, or costs beyond what a double holds.
    return std::isfinite(closed_form_ms) ? closed_form_ms : cap_ms;
  }
  trials.run_between(closed_form_ms, cap_ms);
  const double center_ms = trials.best_target_ms();
  for (const double ratio : kTargetRatios) {
    trials.run(ratio * center_ms);
  }
  return trials.best_target_ms();
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

}  // namespace cpp_chunk
