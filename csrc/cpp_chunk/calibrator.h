#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cpp_chunk/fit.h"
#include "cpp_chunk/step.h"

namespace cpp_chunk {

/// \brief Keeps the start-up profile and the last measured steps, and refits over both.
///
/// Nothing allocates after construction, so it may run beside the scheduler. (A refusal, being
/// an exception, does.)
class Calibrator {
 public:
  /// \param profile measured steps that every refit includes: they keep it well posed
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

 private:
  std::size_t num_profile_;
  std::size_t capacity_;
  std::size_t num_recent_ = 0;
  std::size_t next_ = 0;
  std::uint64_t num_rejected_ = 0;
  std::vector<MeasuredStep> steps_;  ///< the profile, then the ring: one span for the fit
  FitWorkspace workspace_;
};

}  // namespace cpp_chunk
