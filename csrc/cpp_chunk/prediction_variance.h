#pragma once

#include <Eigen/Dense>

#include <span>

#include "cpp_chunk/latency_model.h"
#include "cpp_chunk/step.h"

namespace cpp_chunk {

/// \brief How uncertain the predictions of a fit over chosen passes would be.
///
/// The mean variance of relative errors over a region: a design is I-optimal where it is least.
/// Each cost may change a little with every doubling of sizes and histories. Else the design would
/// put all passes at the ends, where a formula that fits exactly would have them.
class PredictionVariance {
 public:
  /// \param region the passes to predict; at least one
  /// \param guess a model that gives each of them a time > 0
  /// \param smallest_chunk_tokens where doublings are counted from
  PredictionVariance(std::span<const Chunk> region, const LatencyModel& guess,
                     double smallest_chunk_tokens);

  /// \brief Takes a pass into the design.
  void add(const Chunk& pass);

  /// \brief What the mean variance would be with this pass too.
  [[nodiscard]] double mean_with(const Chunk& pass) const;

 private:
  static constexpr int kCosts = static_cast<int>(kNumCoefficients);
  // Of three costs with the chunk, of one with the history.
  static constexpr int kChanges = 4;
  static constexpr int kColumns = kCosts + kChanges;

  using Row = Eigen::Matrix<double, kColumns, 1>;
  using Matrix = Eigen::Matrix<double, kColumns, kColumns>;

  [[nodiscard]] Row unscaled_row(const Chunk& pass) const;
  [[nodiscard]] Row row_of(const Chunk& pass) const;
  void scale_columns(std::span<const Chunk> region);

  LatencyModel guess_;
  double smallest_chunk_tokens_;
  Row column_scale_ = Row::Ones();
  Matrix region_ = Matrix::Zero();  // mean square of what is to be predicted
  Matrix information_;
  Matrix covariance_;
};

}  // namespace cpp_chunk
