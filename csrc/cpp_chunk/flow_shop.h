#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cpp_chunk/stages.h"
#include "cpp_chunk/step.h"

namespace cpp_chunk {

/// \brief When the last of a row of steps leaves the last stage.
///
/// Every step goes through all stages in order, every stage takes one step at a time, and the
/// steps stay in their order: a permutation flow shop. At most max_in_flight steps are
/// inside: a step enters when the one that many places before it has left.
/// For S equal stages with S in flight and times that never fall this is sum(t) + (S-1)*max(t);
/// where a short step follows long ones it waits for them, and that costs more. The deeper the
/// queue, the less.
/// The simulator has a StageTimeline instead, with transfers and busy times: here a target tries
/// thousands of steps in a millisecond, and each costs a comparison and a sum a stage.
class FlowShop {
 public:
  /// \param stages outlives this object
  /// \param times >= 1: how often the row is sent, each time as it was the first time, as soon as
  ///   every stage has room for it: so a row that is a sample stands for the whole
  explicit FlowShop(const Stages& stages, double times = 1.0);

  /// \brief Forgets all steps.
  void clear();

  /// \brief Sends one more step after those before it.
  void add(const StepFeatures& features);

  /// \brief Since the first step began, in ms; only grows with further steps.
  [[nodiscard]] double makespan_ms() const noexcept;

  [[nodiscard]] std::int64_t num_steps() const noexcept { return num_steps_; }

 private:
  const Stages& stages_;
  double times_;
  std::int64_t num_steps_ = 0;
  std::vector<double> first_ms_;  ///< when each stage began its first step
  std::vector<double> free_ms_;   ///< when each stage is done with all steps
  std::vector<double> left_ms_;   ///< when each of the last steps in flight left: a ring
  std::size_t oldest_ = 0;        ///< into the ring
};

}  // namespace cpp_chunk
