#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "cpp_chunk/rest_handling.h"

namespace cpp_chunk {

/// \brief The step times to aim at, one step after the other.
///
/// One time for all steps where stages are alike; a row of them where other times win: ramps on
/// unequal stages, or the times of a fixed size. After the row its last time holds. Times that
/// differ were made for the whole row: evening out the rest would undo them.
class StepTargets {
 public:
  /// \brief All steps take equally long.
  explicit StepTargets(double target_ms, Rest rest = Rest::shared_out)
      : step_ms_{target_ms}, rest_(rest) {}

  /// \param step_ms not empty
  explicit StepTargets(std::vector<double> step_ms)
      : step_ms_(std::move(step_ms)), rest_(Rest::as_it_falls) {}

  /// \brief The time, constant included, to aim at in the step of this index.
  [[nodiscard]] double at(std::size_t index) const noexcept {
    return step_ms_[std::min(index, step_ms_.size() - 1)];
  }

  /// \brief The longest step aimed at, from this index on.
  [[nodiscard]] double longest_ms(std::size_t index = 0) const noexcept {
    const auto from = static_cast<std::ptrdiff_t>(std::min(index, step_ms_.size() - 1));
    return *std::max_element(step_ms_.begin() + from, step_ms_.end());
  }

  [[nodiscard]] Rest rest() const noexcept { return rest_; }

  [[nodiscard]] const std::vector<double>& step_ms() const noexcept { return step_ms_; }

 private:
  std::vector<double> step_ms_;
  Rest rest_;
};

}  // namespace cpp_chunk
