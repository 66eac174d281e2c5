#include "cpp_chunk/calibrator.h"

#include <algorithm>
#include <string>

#include "cpp_chunk/error.h"

namespace cpp_chunk {
namespace {

// More would be memory without use, and sizes beyond it are somebody's mistake.
constexpr std::size_t kMaxCapacity = 1'000'000;

std::size_t checked_capacity(std::size_t capacity) {
  if (capacity < 1 || capacity > kMaxCapacity) {
    throw InvalidArgument("capacity must be in [1, " + std::to_string(kMaxCapacity) + "], got " +
                          std::to_string(capacity));
  }
  return capacity;
}

}  // namespace

Calibrator::Calibrator(std::span<const MeasuredStep> profile, std::size_t capacity)
    : num_profile_(profile.size()),
      capacity_(checked_capacity(capacity)),
      steps_(profile.size() + capacity),
      workspace_(profile.size() + capacity) {
  const auto unusable = std::ranges::find_if_not(profile, is_usable);
  if (unusable != profile.end()) {
    throw InvalidArgument("profile step " + std::to_string(unusable - profile.begin()) +
                          " is unusable: latency_ms " + shown(unusable->latency_ms) + " for " +
                          shown(unusable->features.token_sum) + " tokens");
  }
  std::ranges::copy(profile, steps_.begin());
}

bool Calibrator::add(const StepFeatures& features, double latency_ms) noexcept {
  const MeasuredStep step{.features = features, .latency_ms = latency_ms};
  if (!is_usable(step)) {
    reject();
    return false;
  }
  steps_[num_profile_ + next_] = step;
  next_ = (next_ + 1) % capacity_;
  num_recent_ = std::min(num_recent_ + 1, capacity_);
  return true;
}

FitReport Calibrator::refit() {
  return fit_latency_model(std::span(steps_).first(num_profile_ + num_recent_), workspace_);
}

}  // namespace cpp_chunk
