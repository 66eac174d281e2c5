#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "cpp_chunk/backlog_flow.h"

namespace cpp_chunk {

/// \brief Step times for unequal stages: the fastest growing that keep the slowest stage busy.
///
/// The slowest stage should begin soon, so the first step is short; it must not wait, so each
/// next step may only be as long as the stages before it can deliver in time: these times grow.
/// What follows the slowest stage asks the same of the last steps, in the mirror. So the times
/// rise, fall, or rise and fall; of equal stages they stay the same. (Lot streaming: Trietsch and
/// Baker, "Basic techniques for lot streaming", 1993. Compared with the linear programme's optimum
/// for the same number of steps they fall behind by less than 0.1 % for one slow stage.)
class Ramp {
 public:
  /// \param flow outlives this object
  explicit Ramp(const BacklogFlow& flow);

  /// \brief The best row of step times, whatever the number of steps.
  /// \param fewest, most bounds of that number; fewest <= most
  /// \return times on the slowest stage in ms, constant included; not empty
  [[nodiscard]] std::vector<double> best_step_ms(double fewest, double most) const;

  /// \brief How long such a row takes through all stages.
  [[nodiscard]] double makespan_ms(std::span<const double> step_ms) const;

 private:
  /// Times for num_steps steps that do the whole work; end_ratio is the last step's time over the
  /// first's, and of effect only where stages stand on both sides of the slowest.
  void fill(std::vector<double>& step_ms, std::size_t num_steps, double end_ratio) const;

  const BacklogFlow& flow_;
  double before_ = 0.0;       ///< steps' worth of the stages before the slowest
  double after_ = 0.0;        ///< and after it
  std::vector<double> rise_;  ///< fastest growth from a first step of 1; empty: no stage before
  std::vector<double> fall_;  ///< the same counted from the last step
};

}  // namespace cpp_chunk
