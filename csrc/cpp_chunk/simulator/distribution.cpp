#include "cpp_chunk/simulator/distribution.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>

namespace cpp_chunk {
namespace {

// The values from begin on must be those that are not below the percentiles asked for before.
double percentile(std::span<double> values, std::size_t& begin, double share) {
  const double position = share * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(std::floor(position));
  const auto nth = values.begin() + static_cast<std::ptrdiff_t>(below);
  std::nth_element(values.begin() + static_cast<std::ptrdiff_t>(begin), nth, values.end());
  begin = below;
  if (below + 1 == values.size()) {
    return *nth;
  }
  const double above = *std::min_element(nth + 1, values.end());
  return *nth + (position - static_cast<double>(below)) * (above - *nth);
}

}  // namespace

Distribution Distribution::of(std::span<double> values) {
  Distribution distribution;
  if (values.empty()) {
    return distribution;
  }
  distribution.count = static_cast<std::int64_t>(values.size());
  distribution.mean =
      std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  distribution.max = *std::ranges::max_element(values);
  std::size_t begin = 0;
  distribution.p50 = percentile(values, begin, 0.50);
  distribution.p90 = percentile(values, begin, 0.90);
  distribution.p99 = percentile(values, begin, 0.99);
  return distribution;
}

}  // namespace cpp_chunk
