#include "cpp_chunk/backlog_flow.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "cpp_chunk/error.h"
#include "cpp_chunk/uncut_work.h"

namespace cpp_chunk {
namespace {

// Points of the scan for the best number of steps, and halvings of the interval around the best.
constexpr int kScanPoints = 64;
constexpr int kRefinements = 24;
// The number of steps at which the stages are weighed, before the best number is known.
constexpr double kWeighingSteps = 16.0;
// Ramps divide by a stage's weight, so that of a stage that does next to nothing is not 0.
constexpr double kLeastWeight = 1e-6;
}  // namespace

double uncut_work_ms(const Coefficients& cost, const PromptWork& prompt) {
  return UncutWork::of(prompt.num_tokens, prompt.num_computed_tokens).ms(cost);
}

BacklogFlow::BacklogFlow(const Stages& stages, std::span<const PromptWork> prompts)
    : prompts_(prompts), weights_(stages.size(), 1.0) {
  for (const PromptWork& prompt : prompts) {
    total_tokens_ += static_cast<double>(prompt.num_tokens);
  }
  other_rounds_ = static_cast<double>(stages.size() - 1);
  take_stage(stages[0]);
  if (stages.are_equal()) {
    return;
  }
  // A step's time is part work and part constant, so the weights depend on the number of steps,
  // and it on them.
  double num_steps = kWeighingSteps;
  for (int round = 0; round < 2; ++round) {
    for (std::size_t stage = 0; stage < stages.size(); ++stage) {
      take_stage(stages[stage]);
      weights_[stage] = step_ms(num_steps);
    }
    slowest_stage_ = static_cast<std::size_t>(
        std::distance(weights_.begin(), std::ranges::max_element(weights_)));
    const double slowest_ms = weights_[slowest_stage_];
    other_rounds_ = -1.0;
    for (double& weight : weights_) {
      // Stages count as equal where all times are 0, or the longest is beyond what a double holds.
      weight = slowest_ms > 0.0 && std::isfinite(slowest_ms)
                   ? std::clamp(weight / slowest_ms, kLeastWeight, 1.0)
                   : 1.0;
      other_rounds_ += weight;
    }
    take_stage(stages[slowest_stage_]);
    num_steps = best_steps(1.0, std::clamp(total_tokens_, 1.0, 1e4));
  }
}

void BacklogFlow::take_stage(const LatencyModel& model) {
  cost_ = model.coefficients();
  uncut_ms_ = 0.0;
  for (const PromptWork& prompt : prompts_) {
    uncut_ms_ += uncut_work_ms(cost_, prompt);
  }
}

// Prompts share the steps in proportion to their work.
double BacklogFlow::work_ms(double num_steps) const {
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
        uncut_ms_ > 0.0 ? uncut_work_ms(cost_, prompt) / uncut_ms_ : num_tokens / total_tokens_;
    const double cuts = std::max(1.0, num_steps * part);
    work += 0.5 * (cost_.quadratic - cost_.cross) * num_tokens * num_tokens / cuts;
    work += cost_.context * (cuts * static_cast<double>(prompt.num_computed_tokens) +
                             0.5 * num_tokens * (cuts - 1.0));
  }
  // Where only history costs, an uncut prompt's terms cancel: rounding may leave less than nothing.
  return std::max(0.0, work);
}

double BacklogFlow::step_ms(double num_steps) const {
  return cost_.constant + work_ms(num_steps) / num_steps;
}

double BacklogFlow::makespan_ms(double num_steps) const {
  return (num_steps + other_rounds_) * step_ms(num_steps);
}

double BacklogFlow::best_steps(double fewest, double most) const {
  double best = fewest;
  double best_makespan_ms = makespan_ms(fewest);
  const auto consider = [&](double num_steps) {
    const double candidate_ms = makespan_ms(num_steps);
    if (candidate_ms < best_makespan_ms) {
      best_makespan_ms = candidate_ms;
      best = num_steps;
    }
  };
  double ratio = std::pow(most / fewest, 1.0 / kScanPoints);
  for (int point = 1; point <= kScanPoints; ++point) {
    consider(fewest * std::pow(ratio, point));
  }
  for (int round = 0; round < kRefinements; ++round) {
    ratio = std::sqrt(ratio);
    const double center = best;
    consider(std::min(most, center * ratio));
    consider(std::max(fewest, center / ratio));
  }
  return best;
}

void check_prompts(std::span<const PromptWork> prompts) {
  bool has_work = false;
  for (const PromptWork& prompt : prompts) {
    if (!is_valid(
            {.num_tokens = prompt.num_tokens, .num_computed_tokens = prompt.num_computed_tokens})) {
      const std::string got = std::to_string(prompt.num_tokens) + " remaining and " +
                              std::to_string(prompt.num_computed_tokens) + " computed";
      throw InvalidArgument(
          {.field = "prompts", .value = got},
          "a prompt's token counts must be in [0, " + std::to_string(kMaxTokens) + "], got " + got);
    }
    has_work = has_work || prompt.num_tokens > 0;
  }
  if (!has_work) {
    const std::string got = std::to_string(prompts.size()) + " prompts without any";
    throw InvalidArgument({.field = "prompts", .value = got},
                          "a backlog needs at least one token to compute, got " + got);
  }
}

}  // namespace cpp_chunk
