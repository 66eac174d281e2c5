#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cpp_chunk/backlog_sample.h"
#include "cpp_chunk/chunk_solver.h"
#include "cpp_chunk/flow_shop.h"
#include "cpp_chunk/packing.h"
#include "cpp_chunk/stages.h"
#include "cpp_chunk/step.h"
#include "cpp_chunk/step_targets.h"

namespace cpp_chunk {

/// \brief A backlog that takes more full steps is compared on a sample of it that takes so many.
inline constexpr double kSampleSteps = 512.0;
/// \brief Other than equal times are preferred only if they take less than this part of the time:
/// they have short steps, and models tend to miss what these cost.
inline constexpr double kOtherGain = 0.9955;

/// \brief Compares real plans with full steps, on the backlog or on a sample of it, within a
/// bounded number of steps in all.
class Trials {
 public:
  /// \param stages, prompts outlive this object
  /// \param priced_stage of the stages, the one that takes longest
  /// \param limits of every chunk
  /// \param cap_ms the time of a step that only the cap ends
  /// \param full_steps how many of them there are
  Trials(const Stages& stages, std::size_t priced_stage, std::span<const PromptWork> prompts,
         const ChunkLimits& limits, double cap_ms, double full_steps);

  /// \brief Tries steps of these times, and keeps them if no plan was sooner.
  void run(const StepTargets& targets);

  /// \brief Tries steps of equal time.
  void run(double target_ms);

  /// \brief Whether a plan of about so many steps can be tried still.
  [[nodiscard]] bool can_try(double num_steps) const;

  /// \brief Tries targets between two: where the history itself is dear, equal steps need not
  /// exist below some target.
  void run_between(double shortest_ms, double longest_ms);

  /// \brief Tries a row of times, also so many times by so much longer than it was made for.
  /// \param spacing part of the row's times from each trial to the next
  void run_row(const std::vector<double>& step_ms, int num_longer = 0, double spacing = 0.0);

  /// \brief Tries full steps that do not share out a prompt's rest: what an engine without us
  /// does.
  void run_full_steps();

  /// \brief What a sample liked best must be better than full steps on a larger one too.
  void recheck();

  /// \brief Whether plans are compared on a part of the backlog. A row of times is made for a whole
  /// one: no sample can follow it.
  [[nodiscard]] bool is_sampled() const { return times_ > 1.0; }
  [[nodiscard]] const StepTargets& best() const { return best_; }
  [[nodiscard]] double best_makespan_ms() const { return best_makespan_ms_; }

 private:
  template <typename Run>
  void run_others(double gain, std::int64_t num_steps, Run&& run_them);
  void take_sample(double times);
  bool pack(const StepTargets& targets, FlowShop& flow_shop, const GiveUp& give_up);

  const Stages& stages_;
  ChunkSolver solver_;
  std::span<const PromptWork> prompts_;
  std::vector<PromptPiece> sample_;
  double times_ = 1.0;  ///< how many samples make the backlog
  StepTargets full_;
  std::int64_t steps_left_;
  StepTargets best_;
  double best_makespan_ms_ = 0.0;
};

}  // namespace cpp_chunk
