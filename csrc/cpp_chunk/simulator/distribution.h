#pragma once

#include <cstdint>
#include <span>

namespace cpp_chunk {

/// \brief A set of times in brief; all 0 when there are none.
struct Distribution {
  double mean = 0.0;
  double p50 = 0.0;  ///< percentiles lie between the two nearest values, in proportion
  double p90 = 0.0;
  double p99 = 0.0;
  double max = 0.0;
  std::int64_t count = 0;

  /// \param values finite; their order is lost
  [[nodiscard]] static Distribution of(std::span<double> values);
};

}  // namespace cpp_chunk
