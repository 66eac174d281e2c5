#pragma once

#include <cstdint>

#include "cpp_chunk/plan.h"
#include "cpp_chunk/stages.h"

namespace cpp_chunk {

/// \brief The best plan there is for one prompt alone in a pipeline of equal stages: TeraPipe's
/// dynamic programme (arXiv 2102.07988, section 3.3).
///
/// N steps of t_i through S stages take sum(t_i) + (S-1)*max(t_i). For every longest step t_max
/// allowed, the least sum over the cuts at multiples of a granule is a shortest path; the best
/// t_max is found by branch and bound, for the least sum never grows with t_max. Exact to 1e-9.
/// \param stages all equal
/// \param prompt_tokens the whole prompt
/// \param max_chunk_tokens cap of every chunk, in [1, kMaxTokens]
/// \param granule_tokens all chunks but the last are multiples of it, in [1, max_chunk_tokens]
/// \param num_computed_tokens prefix that is already computed, < prompt_tokens
/// \return the one step target is the longest step's time
/// \throws InvalidArgument, also for unequal stages and for more than 2^24 pairs of a cut and a
///   chunk's length
[[nodiscard]] Plan terapipe_plan(const Stages& stages, std::int64_t prompt_tokens,
                                 std::int64_t max_chunk_tokens, std::int64_t granule_tokens,
                                 std::int64_t num_computed_tokens = 0);

}  // namespace cpp_chunk
