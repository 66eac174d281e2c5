#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "cpp_chunk/feature_row.h"

namespace cpp_chunk {

/// \brief Memory of a fit, sized once, so that refitting while serving allocates nothing.
class FitWorkspace {
 public:
  /// \param capacity most measured steps that one fit will get
  explicit FitWorkspace(std::size_t capacity)
      : rows_(capacity),
        predicted_ms_(capacity),
        best_predicted_ms_(capacity),
        weights_(capacity),
        sorted_(capacity) {}

  [[nodiscard]] std::size_t capacity() const noexcept { return rows_.size(); }

  /// \brief What each step weighed in the last fit, in [0, 1]; an outlier 0.
  [[nodiscard]] std::span<const double> weights() const noexcept { return weights_; }

 private:
  friend class RobustRegression;

  std::vector<FeatureRow> rows_;
  std::vector<double> predicted_ms_;
  std::vector<double> best_predicted_ms_;
  std::vector<double> weights_;
  std::vector<double> sorted_;
};

}  // namespace cpp_chunk
