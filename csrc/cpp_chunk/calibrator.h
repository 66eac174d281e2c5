#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "cpp_chunk/fit.h"
#include "cpp_chunk/prior_fit.h"
#include "cpp_chunk/step.h"

namespace cpp_chunk {

/// \brief Keeps the start-up profile and the last measured steps, and refits over both.
///
/// Recent steps count more than old ones, and steps of far fewer tokens than the profile's less:
/// they say little about prefills. Once steps drift from the model in force, those before the drift
/// are forgotten. Without a profile that carries a fit, all steps are fitted alike.
///
/// Nothing allocates after construction, so it may run beside the scheduler. (A refusal, being
/// an exception, does.)
class Calibrator {
 public:
  /// \param profile measured steps: the prior of every refit
  /// \param capacity most recent steps remembered, >= 1
  /// \throws InvalidArgument for an unusable profile step or a capacity of 0
  Calibrator(std::span<const MeasuredStep> profile, std::size_t capacity);

  /// \brief Remembers a step, in place of the oldest when full.
  /// \param features what the step held
  /// \param latency_ms what one stage took
  /// \return false when the sample is unusable; it is then counted and dropped
  bool add(const StepFeatures& features, double latency_ms) noexcept;

  /// \brief Counts a sample that could not even be described, such as one of negative tokens.
  void reject() noexcept { ++num_rejected_; }

  /// \brief Fits profile and recent steps together. \throws FitRefused
  [[nodiscard]] FitReport refit();

  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
  [[nodiscard]] std::size_t num_recent() const noexcept { return num_recent_; }
  [[nodiscard]] std::uint64_t num_rejected() const noexcept { return num_rejected_; }
  /// \brief How often steps drifted from the model.
  [[nodiscard]] std::uint64_t num_drifts() const noexcept { return num_drifts_; }
  /// \brief Recent step times over the profile's; 1 without a profile that carries a fit.
  [[nodiscard]] double scale() const noexcept { return scale_; }

 private:
  void follow_drift();
  void forget_all_but(std::size_t num_steps) noexcept;
  [[nodiscard]] const MeasuredStep& recent(std::size_t age) const noexcept;
  [[nodiscard]] double weight_of(std::size_t age) const noexcept;
  [[nodiscard]] double share_of(const MeasuredStep& step) const noexcept;

  std::size_t num_profile_;
  std::size_t capacity_;
  std::size_t num_recent_ = 0;
  std::size_t next_ = 0;
  std::uint64_t num_rejected_ = 0;
  std::uint64_t num_drifts_ = 0;
  std::vector<MeasuredStep> steps_;  ///< the profile, then the ring: one span for the fit
  std::vector<WeightedStep> weighted_;
  FitWorkspace workspace_;

  // Of a profile that carries a fit.
  std::optional<PriorFit> prior_;
  FitReport profile_fit_;
  LatencyModel model_;  ///< in force
  double scale_ = 1.0;
  double expected_scale_ = 1.0;
  double telling_ms_ = 0.0;
};

}  // namespace cpp_chunk
