#include "cpp_chunk/simulator/stage_timeline.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>

#include "cpp_chunk/error.h"
#include "cpp_chunk/number_text.h"

namespace cpp_chunk {

StageTimeline::StageTimeline(const SimulatedPipeline& pipeline)
    : pipeline_(pipeline),
      is_uniform_(std::ranges::all_of(
          pipeline.stages,
          [&pipeline](const LatencyModel& model) { return model == pipeline.stages.front(); })),
      stages_(pipeline.stages.size()) {}

StepTimes StageTimeline::run(const StepFeatures& features, double now_ms,
                             std::span<StageSpan> spans_ms) {
  const double transfer_ms =
      pipeline_.transfer_ms + pipeline_.transfer_ms_per_token * features.token_sum;
  double duration_ms = pipeline_.stages.front().step_ms(features) + pipeline_.gap_ms;
  double ready_ms = now_ms;
  StepTimes times;
  for (std::size_t i = 0; i < stages_.size(); ++i) {
    Stage& stage = stages_[i];
    if (!is_uniform_) {
      duration_ms = pipeline_.stages[i].step_ms(features) + pipeline_.gap_ms;
    }
    const double start_ms = std::max(ready_ms, stage.free_ms);
    const double end_ms = start_ms + duration_ms;
    if (stage.first_start_ms < 0.0) {
      stage.first_start_ms = start_ms;
    }
    stage.last_end_ms = end_ms;
    stage.busy_ms += duration_ms;
    times.slowest_ms = std::max(times.slowest_ms, duration_ms);
    times.leave_ms = end_ms;
    if (!spans_ms.empty()) {
      spans_ms[i] = {.start_ms = start_ms, .end_ms = end_ms};
    }
    if (i + 1 == stages_.size()) {
      stage.free_ms = end_ms;
    } else if (pipeline_.transfer_overlaps) {
      stage.free_ms = end_ms;
      stage.link_free_ms = std::max(end_ms, stage.link_free_ms) + transfer_ms;
      ready_ms = stage.link_free_ms;
    } else {
      stage.free_ms = end_ms + transfer_ms;
      ready_ms = stage.free_ms;
    }
  }
  if (!std::isfinite(times.leave_ms)) {
    throw InvalidArgument({.field = "stages", .value = shown(times.leave_ms) + " ms"},
                          "the stages' models price a step of " + shown(features.token_sum) +
                              " tokens beyond all numbers");
  }
  return times;
}

std::vector<double> StageTimeline::bubble_share() const {
  std::vector<double> shares;
  shares.reserve(stages_.size());
  for (const Stage& stage : stages_) {
    const double span_ms = stage.last_end_ms - stage.first_start_ms;
    // Sums of many times may differ from the span in the last digits.
    shares.push_back(span_ms > 0.0 ? std::max(0.0, 1.0 - stage.busy_ms / span_ms) : 0.0);
  }
  return shares;
}

}  // namespace cpp_chunk
