#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
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

/// \brief One pass as it ran: one chunk, and what the slowest stage took.
struct MeasuredPass {
  Chunk chunk;
  double latency_ms = 0.0;
};

/// \brief The passes to measure before anything is known: small ones, the smallest first.
/// \throws InvalidArgument for a space without room
[[nodiscard]] std::vector<Chunk> scouting_passes(const ProfileSpace& space);

/// \brief The passes that tell most beside those that were measured.
///
/// An optimal design in the sense of the mean variance of predictions (I-optimality) over all
/// steps that serving may make, in relative errors, with a guess of the model from what was
/// measured. Each cost is allowed to change a little with every doubling, so that sizes and
/// histories are spread and not only put at the ends, where a formula that fits exactly would
/// have them.
/// \param measured at least one pass, latencies finite and > 0; an outlier among them is harmless
/// \param num_new passes that differ from all measured ones
/// \param num_repeats passes that were measured once already: those furthest from the guess
/// \return new passes, then repeats; fewer where the space has no more
/// \throws InvalidArgument for a space without room or an unusable measured pass
[[nodiscard]] std::vector<Chunk> next_passes(const ProfileSpace& space,
                                             std::span<const MeasuredPass> measured,
                                             std::size_t num_new, std::size_t num_repeats);

}  // namespace cpp_chunk
