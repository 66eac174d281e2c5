#include "cpp_chunk/flow_shop.h"

#include <algorithm>

namespace cpp_chunk {

FlowShop::FlowShop(const Stages& stages)
    : stages_(stages), free_ms_(stages.size()), left_ms_(stages.size()) {}

void FlowShop::clear() {
  num_steps_ = 0;
  oldest_ = 0;
  std::ranges::fill(free_ms_, 0.0);
  std::ranges::fill(left_ms_, 0.0);
}

void FlowShop::add(const StepFeatures& features) {
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

}  // namespace cpp_chunk
