#pragma once

#include <cstdint>
#include <vector>

#include "cpp_chunk/chunk_limits.h"

namespace cpp_chunk {

/// \brief Where chunks should end: on the alignment, and on as many preferred multiples as are
/// small beside the chunk.
class ChunkGrid {
 public:
  /// \param limits checked
  explicit ChunkGrid(const ChunkLimits& limits);

  /// \brief The coarsest multiple that is small beside a chunk; the alignment at least.
  [[nodiscard]] std::int64_t quantum_tokens(double num_tokens,
                                            std::int64_t num_computed_tokens) const;

  /// \brief Tokens up to the last end on the alignment within num_tokens; <= 0 when there is none.
  [[nodiscard]] std::int64_t aligned_down(std::int64_t num_tokens,
                                          std::int64_t num_computed_tokens) const noexcept {
    const std::int64_t alignment = quanta_.front();
    return (num_computed_tokens + num_tokens) / alignment * alignment - num_computed_tokens;
  }

  /// \brief The same for a quantum of quantum_tokens, where the history ends on the alignment.
  [[nodiscard]] std::int64_t rounded_down(std::int64_t num_tokens, std::int64_t num_computed_tokens,
                                          std::int64_t quantum) const noexcept {
    return quantum > quanta_.front() ? num_tokens / quantum * quantum
                                     : aligned_down(num_tokens, num_computed_tokens);
  }

 private:
  /// The alignment, then its least common multiples with the preferred ones; ascending.
  std::vector<std::int64_t> quanta_;
};

}  // namespace cpp_chunk
