#include "cpp_chunk/flow_shop.h"

#include <algorithm>

namespace cpp_chunk {

FlowShop::FlowShop(const Stages& stages, double times)
    : stages_(stages),
      times_(times),
      first_ms_(stages.size()),
      free_ms_(stages.size()),
      left_ms_(static_cast<std::size_t>(stages.max_in_flight())) {}

void FlowShop::clear() {
  num_steps_ = 0;
  oldest_ = 0;
  std::ranges::fill(free_ms_, 0.0);
  std::ranges::fill(left_ms_, 0.0);
}

void FlowShop::add(const StepFeatures& features) {
  if (num_steps_ == 0) {
    double began_ms = 0.0;
    for (std::size_t stage = 0; stage < stages_.size(); ++stage) {
      first_ms_[stage] = began_ms;
      began_ms += stages_[stage].step_ms(features);
    }
  }
  ++num_steps_;
  double arrival_ms = left_ms_[oldest_];
  if (stages_.are_equal()) {
    const double step_ms = stages_[0].step_ms(features);
    for (double& free_ms : free_ms_) {
      arrival_ms = std::max(arrival_ms, free_ms) + step_ms;
      free_ms = arrival_ms;
    }
  } else {
    for (std::size_t stage = 0; stage < stages_.size(); ++stage) {
      arrival_ms = std::max(arrival_ms, free_ms_[stage]) + stages_[stage].step_ms(features);
      free_ms_[stage] = arrival_ms;
    }
  }
  left_ms_[oldest_] = arrival_ms;
  oldest_ = oldest_ + 1 == left_ms_.size() ? 0 : oldest_ + 1;
}

double FlowShop::makespan_ms() const noexcept {
  if (times_ <= 1.0) {
    return free_ms_.back();
  }
  // Sent again, the whole row follows as soon as the stage that it keeps busy longest has room.
  double period_ms = 0.0;
  for (std::size_t stage = 0; stage < free_ms_.size(); ++stage) {
    period_ms = std::max(period_ms, free_ms_[stage] - first_ms_[stage]);
  }
  return free_ms_.back() + (times_ - 1.0) * period_ms;
}

}  // namespace cpp_chunk
