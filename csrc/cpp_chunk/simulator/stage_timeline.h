#pragma once

#include <span>
#include <vector>

#include "cpp_chunk/simulator/simulated_pipeline.h"
#include "cpp_chunk/simulator/simulation_result.h"
#include "cpp_chunk/step.h"

namespace cpp_chunk {

/// \brief How long a step was in the pipeline.
struct StepTimes {
  double leave_ms = 0.0;    ///< when it left the last stage
  double slowest_ms = 0.0;  ///< on the stage that took longest for it, the gap included
};

/// \brief The stages' clocks. Every stage is first in, first out, so a step's whole way is known
/// when it is scheduled.
/// Planning has a FlowShop instead, which leaves out transfers and busy times for speed, and lets a
/// step enter as soon as there is room: here simulate says when.
class StageTimeline {
 public:
  /// \param pipeline checked; must outlive this object
  explicit StageTimeline(const SimulatedPipeline& pipeline);

  /// \brief Sends a step through.
  /// \param features what it holds
  /// \param now_ms when it was scheduled
  /// \param spans_ms gets the time on each stage, unless empty
  /// \throws InvalidArgument when the models price the step beyond all numbers
  StepTimes run(const StepFeatures& features, double now_ms, std::span<StageSpan> spans_ms);

  [[nodiscard]] std::vector<double> bubble_share() const;

 private:
  struct Stage {
    double free_ms = 0.0;
    double link_free_ms = 0.0;  ///< of the link to the next stage
    double first_start_ms = -1.0;
    double last_end_ms = 0.0;
    double busy_ms = 0.0;
  };

  const SimulatedPipeline& pipeline_;
  bool is_uniform_;  ///< one model for all: a step is priced once
  std::vector<Stage> stages_;
};

}  // namespace cpp_chunk
