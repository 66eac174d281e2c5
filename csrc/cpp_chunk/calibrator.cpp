#include "cpp_chunk/calibrator.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "cpp_chunk/drift.h"
#include "cpp_chunk/error.h"
#include "cpp_chunk/fit_data.h"
#include "cpp_chunk/log_ratio.h"

namespace cpp_chunk {
namespace {

// More would be memory without use, and sizes beyond it are somebody's mistake.
constexpr std::size_t kMaxCapacity = 1'000'000;
// A step counts half as much as one that came this many steps later.
constexpr double kHalfLifeSteps = 64.0;
// No device becomes a million times slower or faster: such times are measured wrongly.
constexpr double kMostScaleDecades = 6.0;
// Share of a telling step's token cost from which on a step is evidence of drift: the time of a
// smaller one is mostly the constant.
constexpr double kTellingShare = 0.5;

std::size_t checked_capacity(std::size_t capacity) {
  if (capacity < 1 || capacity > kMaxCapacity) {
    throw InvalidArgument("capacity", "in [1, " + std::to_string(kMaxCapacity) + "]",
                          std::to_string(capacity));
  }
  return capacity;
}

// What a step's new tokens cost. Neither its constant nor what it repeats of its history tells of
// prefills: decodes have these too, and a graph of their own that the model knows nothing of.
double tokens_ms(const LatencyModel& model, const StepFeatures& features) {
  const Coefficients& costs = model.coefficients();
  return costs.quadratic * features.half_square_sum + costs.cross * features.cross_sum +
         costs.linear * features.token_sum;
}

// The token cost from which on a step counts in full: the profile's lower quartile.
double telling_ms_of(std::span<const MeasuredStep> steps, const LatencyModel& model) {
  std::vector<double> sorted(steps.size());
  std::ranges::transform(steps, sorted.begin(), [&model](const MeasuredStep& step) {
    return tokens_ms(model, step.features);
  });
  std::ranges::sort(sorted);
  return sorted[sorted.size() / 4];
}

}  // namespace

Calibrator::Calibrator(std::span<const MeasuredStep> profile, std::size_t capacity)
    : num_profile_(profile.size()),
      capacity_(checked_capacity(capacity)),
      steps_(profile.size() + capacity),
      weighted_(capacity),
      workspace_(profile.size() + capacity) {
  std::ranges::copy(profile, steps_.begin());
  try {
    profile_fit_ = fit_latency_model(profile, workspace_);
    model_ = profile_fit_.model;
    // The prior is what that fit believed; an outlier in it would pull at every refit.
    const std::vector<MeasuredStep> believed = inliers_of(profile, workspace_);
    prior_.emplace(believed, capacity_);
    telling_ms_ = telling_ms_of(believed, model_);
  } catch (const FitRefused&) {
    prior_.reset();  // then every refit is over all steps alike
  }
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
  if (!prior_) {
    return fit_latency_model(std::span(steps_).first(num_profile_ + num_recent_), workspace_);
  }
  if (num_recent_ == 0) {
    return profile_fit_;
  }
  PriorFit& prior = *prior_;
  follow_drift();
  for (std::size_t age = 0; age < num_recent_; ++age) {
    weighted_[age] = {.step = recent(age), .weight = weight_of(age)};
  }
  const PriorFitReport report =
      prior.fit(std::span(weighted_).first(num_recent_), model_, expected_scale_);
  model_ = report.fit.model;
  scale_ = report.scale;
  return report.fit;
}

void Calibrator::follow_drift() {
  std::array<double, kDriftSteps> log_ratios{};
  std::size_t num_telling = 0;
  std::size_t age = 0;
  for (; age < num_recent_ && num_telling < kDriftSteps; ++age) {
    const MeasuredStep& step = recent(age);
    if (share_of(step) >= kTellingShare) {
      log_ratios[num_telling++] = -log_ratio(model_, step);
    }
  }
  // The expected factor stays then: else steps that tell little would move it at every refit, and
  // in the end as far as others do.
  if (num_telling < kDriftSteps) {
    return;
  }
  expected_scale_ = scale_;
  const std::optional<double> factor = drift_factor(log_ratios, profile_fit_.mean_relative_error);
  if (!factor) {
    return;
  }
  const double scale = scale_ * *factor;
  if (std::abs(std::log10(scale)) > kMostScaleDecades) {
    return;
  }
  ++num_drifts_;
  forget_all_but(age);
  model_ = model_.scaled(*factor);
  expected_scale_ = scale;
}

void Calibrator::forget_all_but(std::size_t num_steps) noexcept {
  num_recent_ = std::min(num_recent_, num_steps);
  // The newest go to the ring's beginning: the ring's used part is contiguous from there.
  const auto ring = steps_.begin() + static_cast<std::ptrdiff_t>(num_profile_);
  const std::size_t first = (next_ + capacity_ - num_recent_) % capacity_;
  std::rotate(ring, ring + static_cast<std::ptrdiff_t>(first), steps_.end());
  next_ = num_recent_ % capacity_;
}

const MeasuredStep& Calibrator::recent(std::size_t age) const noexcept {
  return steps_[num_profile_ + (next_ + capacity_ - 1 - age) % capacity_];
}

double Calibrator::weight_of(std::size_t age) const noexcept {
  const double share = share_of(recent(age));
  return std::exp2(-static_cast<double>(age) / kHalfLifeSteps) * share * share;
}

double Calibrator::share_of(const MeasuredStep& step) const noexcept {
  const double cost_ms = tokens_ms(profile_fit_.model, step.features);
  return cost_ms < telling_ms_ ? cost_ms / telling_ms_ : 1.0;
}

}  // namespace cpp_chunk
