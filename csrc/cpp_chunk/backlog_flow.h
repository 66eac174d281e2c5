#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "cpp_chunk/latency_model.h"
#include "cpp_chunk/stages.h"
#include "cpp_chunk/step.h"

namespace cpp_chunk {

/// \brief A backlog as one flow of work, cut into any number of steps that take equal time.
///
/// N steps of T on the slowest stage take N*T there, and what the other stages, with times in
/// proportion to it, add before the first and after the last: with w_j = t_j/T,
/// makespan(N) = (N + sum(w) - 1) * T(N). Equal stages: N + S - 1. All is continuous: whole tokens
/// and alignment are left to real plans.
class BacklogFlow {
 public:
  /// \param stages copied as far as needed
  /// \param prompts outlive this object; tokens > 0 in all, valid
  BacklogFlow(const Stages& stages, std::span<const PromptWork> prompts);

  /// \brief The stage that takes longest for this backlog.
  [[nodiscard]] std::size_t slowest_stage() const noexcept { return slowest_stage_; }

  /// \brief Each stage's step time, divided by the slowest one's.
  [[nodiscard]] const std::vector<double>& weights() const noexcept { return weights_; }

  /// \brief sum(weights) - 1: steps' worth of time before the first step and after the last.
  [[nodiscard]] double other_rounds() const noexcept { return other_rounds_; }

  /// \brief Variable work on the slowest stage in ms when cut into num_steps steps.
  [[nodiscard]] double work_ms(double num_steps) const;

  /// \brief Time of each of num_steps equal steps on the slowest stage, the constant included.
  [[nodiscard]] double step_ms(double num_steps) const;

  [[nodiscard]] double makespan_ms(double num_steps) const;

  /// \brief The number of steps in [fewest, most] with the shortest makespan, not always whole.
  [[nodiscard]] double best_steps(double fewest, double most) const;

  [[nodiscard]] double total_tokens() const noexcept { return total_tokens_; }

 private:
  void take_stage(const LatencyModel& model);

  Coefficients cost_;
  std::span<const PromptWork> prompts_;
  std::size_t slowest_stage_ = 0;
  std::vector<double> weights_;
  double other_rounds_ = 0.0;
  double uncut_ms_ = 0.0;
  double total_tokens_ = 0.0;
};

/// \brief Variable work of a prompt in ms, but for what depends on how it is cut.
[[nodiscard]] double uncut_work_ms(const Coefficients& cost, const PromptWork& prompt);

/// \throws InvalidArgument unless the prompts are valid and have a token to compute
void check_prompts(std::span<const PromptWork> prompts);

}  // namespace cpp_chunk
