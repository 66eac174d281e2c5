#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>

#include "cpp_chunk/busy_period.h"
#include "cpp_chunk/chunk_solver.h"
#include "cpp_chunk/policy.h"
#include "cpp_chunk/stages.h"
#include "cpp_chunk/step_targets.h"

namespace cpp_chunk {

/// \brief What a planner is told once.
struct PlannerSettings {
  ChunkLimits limits;
  /// In [0, 1]: how far the first chunk of a step moves from max_chunk_tokens to the solved one.
  double smooth_factor = 1.0;
  /// A step time to aim at whatever waits; by default the best one for the backlog.
  std::optional<double> target_ms = std::nullopt;
};

/// \brief Chunks of the step times that suit the backlog: the policy that serves.
///
/// The target is set when the first prompt joins an idle pipeline, and raised when the backlog has
/// grown by more than a little. While steps are in flight it does not fall, since the pipeline's
/// fill and drain at the present step time are already paid for, until the work that it was set
/// for has been done: so short requests never lower it.
/// Fill and drain are paid once for a busy period, not once for a backlog, and again in part where
/// prompts come late: BusyPeriod tells from the prompts that have joined how long steps may be.
/// Decodes of the last step are taken to be in the next ones too and cost time in each: the more
/// of them, the fewer and longer steps are best.
class ChunkPlanner final : public ChunkPolicy {
 public:
  /// \param stages with what a step costs beyond its compute (the engine's gap) in the constants
  /// \throws InvalidArgument
  ChunkPlanner(const Stages& stages, const PlannerSettings& settings);

  /// \brief Other models from the next step on; the target stays until the backlog changes.
  /// \param target_ms as in PlannerSettings
  void set_stages(const Stages& stages, std::optional<double> target_ms = std::nullopt);

  void set_backlog(std::span<const PromptWork> prompts, std::size_t num_under_way) override;
  void begin_step() override;
  [[nodiscard]] std::int64_t chunk_tokens(const PromptWork& prompt,
                                          std::int64_t max_tokens) override;
  void add_chunk(const Chunk& chunk) override;

  /// \brief step_left; the time itself teaches the planner nothing: calibration is the caller's.
  void measured(const StepFeatures& features, double latency_ms) override;

  /// \brief The oldest step in flight has left the last stage: without this the pipeline never
  /// counts as idle.
  void step_left();

  /// \brief add_chunk for many decodes at once: schedulers that serve have hundreds in a step.
  /// \param num_computed_tokens the sum of their histories
  void add_decodes(std::int64_t num_decodes, std::int64_t num_computed_tokens);

  /// \brief The step time aimed at now, in ms, constant included.
  [[nodiscard]] double target_ms() const noexcept { return targets_.at(step_index_); }

  /// \brief Predicted time of the step so far in ms, the constant included.
  [[nodiscard]] double step_ms() const noexcept { return solver_.step_ms(); }

 private:
  void price_by_slowest(std::span<const PromptWork> prompts);
  void aim(const StepTargets& targets, std::size_t step_index, double work_ms);
  [[nodiscard]] double in_flight_ms() const;
  void close_step();
  void count_joined(double work_ms, bool is_idle);

  Stages stages_;
  PlannerSettings settings_;
  std::size_t slowest_stage_ = 0;
  ChunkSolver solver_;
  StepTargets targets_;
  std::size_t step_index_ = 0;  ///< into the row of targets
  bool is_in_step_ = false;
  bool has_prefill_ = false;    ///< the step under way holds one
  double prefill_ms_ = 0.0;     ///< work of the step under way, in the terms of committed_ms_
  double committed_ms_ = 0.0;   ///< work that the target was set for and that is still to do
  double considered_ms_ = 0.0;  ///< work of the backlog that the target was last weighed for
  double backlog_ms_ = 0.0;     ///< work of the backlog of last time that is not yet scheduled
  double other_rounds_ = 0.0;   ///< of the stages besides the slowest, in steps of that one
  BusyPeriod busy_period_;
  std::deque<double> in_flight_ms_;  ///< prefill work of each step inside, oldest first
  StepFeatures decodes_;             ///< of the step under way
  StepFeatures decodes_before_;      ///< of the step before
};

}  // namespace cpp_chunk
