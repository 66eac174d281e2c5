#pragma once

#include <cstdint>
#include <vector>

#include "cpp_chunk/stages.h"
#include "cpp_chunk/step.h"

namespace cpp_chunk {

/// \brief When the last of a row of steps leaves the last stage.
///
/// Every step goes through all stages in order, every stage takes one step at a time, and the
/// steps stay in their order: a permutation flow shop. Of equal stages the last step leaves after
/// sum(t) + (S-1)*max(t), so nothing is kept for each stage there.
class FlowShop {
 public:
  /// \param stages outlives this object
  explicit FlowShop(const Stages& stages);

  /// \brief Forgets all steps.
  void clear();

  /// \brief Sends one more step after those before it.
  void add(const StepFeatures& features);

  /// \brief Since the first step began, in ms; only grows with further steps.
  [[nodiscard]] double makespan_ms() const noexcept;

  [[nodiscard]] std::int64_t num_steps() const noexcept { return num_steps_; }

 private:
  const Stages& stages_;
  std::int64_t num_steps_ = 0;
  double sum_ms_ = 0.0;
  double max_ms_ = 0.0;
  std::vector<double> free_ms_;  ///< when each stage is done with all steps; of unequal stages
};

}  // namespace cpp_chunk
