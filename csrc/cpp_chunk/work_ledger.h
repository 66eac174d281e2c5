#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cpp_chunk/uncut_work.h"

namespace cpp_chunk {

/// \brief A backlog of this much more or less work has not changed materially: its best target
/// moves by half of that, and the makespan by far less.
inline constexpr double kMaterialChange = 0.05;

/// \brief What a backlog differs in from the one before it, less what was scheduled between them.
struct BacklogChange {
  bool is_idle = false;  ///< nothing was under way or in flight: all that waits has joined
  UncutWork joined;      ///< without tokens where nothing has
  UncutWork present;     ///< what those that joined found, waiting and in flight
  UncutWork gone;        ///< will not be done here; without tokens where nothing went away
};

/// \brief A planner's books: what waits, what its target was set for, what is in flight.
///
/// Only what was scheduled counts as begun. What waits is told whole, so what joined or went away
/// is the difference.
class WorkLedger {
 public:
  /// \brief Takes down what waits now.
  /// \param work of prompts that wait or are part-way
  /// \param num_under_way how many of them are part-way
  BacklogChange take_backlog(const UncutWork& work, std::size_t num_under_way);

  /// \brief A step of the backlog's work is inside the pipeline now.
  /// \param step numbers that rise
  void step_scheduled(std::int64_t step, const UncutWork& work);

  /// \brief This step, and every one before it, has left the pipeline.
  void step_left(std::int64_t step);

  /// \brief A target is weighed for the backlog, whether it is then set or not.
  void consider() { considered_ = backlog_; }

  /// \brief A target was set for the backlog.
  void commit();

  /// \brief The backlog that a target was last weighed for.
  [[nodiscard]] const UncutWork& considered() const noexcept { return considered_; }

  /// \brief Whether nothing speaks for the longer steps of a target that was set for more work: the
  /// pipeline is idle, or that work has been done, or a material part of it went away.
  [[nodiscard]] bool may_fall() const;

  /// \brief What was scheduled and has not left the last stage.
  [[nodiscard]] UncutWork in_flight() const;

 private:
  struct StepInside {
    std::int64_t step;
    UncutWork work;
  };

  UncutWork backlog_;                  ///< of last time that is not yet scheduled
  UncutWork considered_;               ///< of the backlog that a target was last weighed for
  std::int64_t committed_tokens_ = 0;  ///< that the target was set for and that are still to do
  std::int64_t gone_tokens_ = 0;       ///< that went away since then without having been done
  bool is_idle_ = true;                ///< as of the last backlog
  std::vector<StepInside> inside_;     ///< oldest first
};

}  // namespace cpp_chunk
