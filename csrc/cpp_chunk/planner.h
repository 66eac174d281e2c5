#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "cpp_chunk/busy_period.h"
#include "cpp_chunk/chunk_solver.h"
#include "cpp_chunk/policy.h"
#include "cpp_chunk/stages.h"
#include "cpp_chunk/step.h"
#include "cpp_chunk/step_targets.h"
#include "cpp_chunk/uncut_work.h"
#include "cpp_chunk/work_ledger.h"

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
/// The target is set when the first prompt joins an idle pipeline, and raised when the backlog, or
/// what decodes cost in each step, has grown by more than a little. While steps are in flight it
/// does not fall, since the pipeline's fill and drain at the present step time are already paid
/// for, until the work that it was set for has been done or has gone away: so short requests never
/// lower it.
/// Fill and drain are paid once for a busy period, not once for a backlog, and again in part where
/// prompts come late: BusyPeriod tells from the prompts that have joined how long steps may be.
/// Decodes cost time in each step: the more of them, the fewer and longer steps are best.
///
/// Work is counted in tokens, by what set_backlog and step_scheduled say: nothing that was only
/// asked for counts.
class ChunkPlanner final : public ChunkPolicy {
 public:
  /// \param stages with what a step costs beyond its compute (the engine's gap) in the constants
  /// \throws InvalidArgument
  ChunkPlanner(const Stages& stages, const PlannerSettings& settings);

  /// \brief Other models from the next step on; the target stays until the backlog changes.
  /// \param stages their models; as many steps stay in flight as before
  /// \param target_ms as in PlannerSettings
  void set_stages(const Stages& stages, std::optional<double> target_ms = std::nullopt);

  void set_decodes(std::int64_t num_decodes, std::int64_t num_computed_tokens,
                   std::int64_t tokens_each) override;
  void set_backlog(std::span<const PromptWork> prompts, std::size_t num_under_way) override;
  void begin_step() override;
  [[nodiscard]] std::int64_t chunk_tokens(const PromptWork& prompt,
                                          std::int64_t max_tokens) override;
  void add_chunk(const Chunk& chunk) override;
  void step_scheduled(std::int64_t step, std::span<const Chunk> prefills) override;
  void step_left(std::int64_t step) override;

  /// \brief chunk_tokens for a prompt that shall take no more than a part of the step's time, but
  /// for one alignment step of tokens.
  /// \param share in (0, 1] of the target less the constant and what decodes take
  [[nodiscard]] std::int64_t shared_chunk_tokens(const PromptWork& prompt, std::int64_t max_tokens,
                                                 double share);

  /// \brief add_chunk for many decodes at once: schedulers that serve have hundreds in a step.
  /// \param num_computed_tokens the sum of their histories
  /// \param tokens_each more than 1 with speculative tokens
  void add_decodes(std::int64_t num_decodes, std::int64_t num_computed_tokens,
                   std::int64_t tokens_each = 1);

  /// \brief The step time aimed at now, in ms, constant included.
  [[nodiscard]] double target_ms() const noexcept { return solver_.target_ms(); }

  /// \brief Predicted time of the step so far in ms, the constant included.
  [[nodiscard]] double step_ms() const noexcept { return solver_.step_ms(); }

 private:
  void price_by_slowest(std::span<const PromptWork> prompts);
  void aim(const StepTargets& targets, std::size_t step_index);
  void tell_busy_period(const BacklogChange& change);
  [[nodiscard]] bool is_as_considered(const UncutWork& work) const;
  [[nodiscard]] StepTargets best_targets(std::span<const PromptWork> prompts, bool is_idle) const;
  [[nodiscard]] const Coefficients& cost() const { return solver_.model().coefficients(); }

  Stages stages_;
  PlannerSettings settings_;
  std::size_t slowest_stage_ = 0;
  double other_rounds_ = 0.0;  ///< of the stages besides the slowest, in steps of that one
  ChunkSolver solver_;
  StepTargets targets_;
  std::size_t step_index_ = 0;       ///< into the row of targets
  double decodes_ms_ = 0.0;          ///< of the step under way
  StepFeatures decodes_;             ///< of a step, on average
  StepFeatures considered_decodes_;  ///< those that the target was last weighed with
  WorkLedger ledger_;
  BusyPeriod busy_period_;
};

}  // namespace cpp_chunk
