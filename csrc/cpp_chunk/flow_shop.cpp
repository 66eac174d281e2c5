#include "cpp_chunk/flow_shop.h"

#include <algorithm>

namespace cpp_chunk {

FlowShop::FlowShop(const Stages& stages)
    : stages_(stages), free_ms_(stages.are_equal() ? 0 : stages.size()) {}

void FlowShop::clear() {
  num_steps_ = 0;
  sum_ms_ = 0.0;
  max_ms_ = 0.0;
  std::ranges::fill(free_ms_, 0.0);
}

void FlowShop::add(const StepFeatures& features) {
  ++num_steps_;
  if (stages_.are_equal()) {
    const double step_ms = stages_[0].step_ms(features);
    sum_ms_ += step_ms;
    max_ms_ = std::max(max_ms_, step_ms);
    return;
  }
  double arrival_ms = 0.0;
  for (std::size_t stage = 0; stage < stages_.size(); ++stage) {
    arrival_ms = std::max(arrival_ms, free_ms_[stage]) + stages_[stage].step_ms(features);
    free_ms_[stage] = arrival_ms;
  }
}

double FlowShop::makespan_ms() const noexcept {
  if (!stages_.are_equal()) {
    return free_ms_.back();
  }
  // Written so that a single stage of infinite steps does not multiply zero by infinity.
  const auto further_stages = static_cast<double>(stages_.size() - 1);
  return further_stages > 0.0 ? sum_ms_ + further_stages * max_ms_ : sum_ms_;
}

}  // namespace cpp_chunk
