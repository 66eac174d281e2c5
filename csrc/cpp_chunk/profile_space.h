#pragma once

#include <cstdint>
#include <vector>

#include "cpp_chunk/step.h"

namespace cpp_chunk {

/// \brief What passes of a start-up profile may be.
struct ProfileSpace {
  std::int64_t smallest_chunk_tokens = 1;
  std::int64_t max_chunk_tokens = 1;    ///< >= smallest_chunk_tokens
  std::int64_t max_context_tokens = 1;  ///< chunk and history together; >= max_chunk_tokens
  std::int64_t alignment = 1;           ///< sizes and histories are multiples where they can be
  double longest_pass_ms = 1e300;       ///< no pass is chosen that is expected to take longer, but
                                        ///< where too few others are left for a fit
};

/// \throws InvalidArgument for a space without room
void check_space(const ProfileSpace& space);

/// \brief The chunk of about this size at about this share of its longest history.
[[nodiscard]] Chunk chunk_at(const ProfileSpace& space, double tokens, double history_share);

/// \brief The passes to choose from: sizes at equal ratios, each at several shares of its longest
/// history; all different.
[[nodiscard]] std::vector<Chunk> grid_of(const ProfileSpace& space);

}  // namespace cpp_chunk
