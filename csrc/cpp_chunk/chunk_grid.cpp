#include "cpp_chunk/chunk_grid.h"

#include <cstddef>
#include <numeric>

namespace cpp_chunk {
namespace {

// A preferred multiple is kept where rounding to it moves a chunk by a few per cent at most.
constexpr double kQuantumShare = 1.0 / 16.0;

}  // namespace

ChunkGrid::ChunkGrid(const ChunkLimits& limits) {
  quanta_.push_back(limits.alignment);
  for (const std::int64_t multiple : limits.preferred_multiples) {
    const std::int64_t quantum = quanta_.back();
    const std::int64_t factor = multiple / std::gcd(quantum, multiple);
    if (factor <= limits.max_chunk_tokens / quantum) {
      quanta_.push_back(factor * quantum);
    }
  }
}

std::int64_t ChunkGrid::quantum_tokens(double num_tokens, std::int64_t num_computed_tokens) const {
  std::size_t coarsest = 0;
  // After a history that does not end on the alignment, no multiple of a quantum would end there.
  if (num_computed_tokens % quanta_.front() == 0) {
    while (coarsest + 1 < quanta_.size() &&
           static_cast<double>(quanta_[coarsest + 1]) <= kQuantumShare * num_tokens) {
      ++coarsest;
    }
  }
  return quanta_[coarsest];
}

}  // namespace cpp_chunk
