#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "cpp_chunk/profile_guess.h"
#include "cpp_chunk/profile_space.h"
#include "cpp_chunk/step.h"

namespace cpp_chunk {

/// \brief The passes to measure before anything is known: small ones, the smallest first.
/// \throws InvalidArgument for a space without room
[[nodiscard]] std::vector<Chunk> scouting_passes(const ProfileSpace& space);

/// \brief The passes that tell most beside those that were measured.
///
/// An I-optimal design, with a guess of the model from what was measured: of the passes to choose
/// from, always the one that leaves the least mean variance of predictions over all of them.
/// \param measured at least one pass, latencies finite and > 0; an outlier among them is harmless
/// \param num_new passes that differ from all measured ones
/// \param num_repeats passes that were measured once already: those furthest from the guess
/// \return new passes, then repeats; fewer where the space has no more
/// \throws InvalidArgument for a space without room or an unusable measured pass
[[nodiscard]] std::vector<Chunk> next_passes(const ProfileSpace& space,
                                             std::span<const MeasuredPass> measured,
                                             std::size_t num_new, std::size_t num_repeats);

}  // namespace cpp_chunk
