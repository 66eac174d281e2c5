#pragma once

#include <cstdint>
#include <span>

#include "cpp_chunk/chunk_solver.h"
#include "cpp_chunk/latency_model.h"
#include "cpp_chunk/packing.h"

namespace cpp_chunk {

/// \brief Largest number of stages that any function accepts.
inline constexpr int kMaxStages = 65'536;

/// \brief The step time that gets a backlog through the pipeline soonest.
///
/// N steps of t_i through S equal stages take sum(t_i) + (S-1)*max(t_i), so equal steps are
/// right. Their number: with W the work that no cut changes and c the cost of a step, the best
/// is N = sqrt((S-1)*W/c), T = c + sqrt(W*c/(S-1)). The same expression, with the context and
/// the unequal prices of quadratic and cross put in, is minimised over N; then real plans around
/// that N, with their alignment and tails, are compared and the best one's target returned.
/// \param prompts what is left of each waiting prompt, as one flow; tokens >= 0, not all 0
/// \param num_stages pipeline stages S, >= 1. With one stage nothing overlaps, and the longest
///   steps that the cap allows win, unless cutting saves work (quadratic > cross)
/// \param limits of every chunk; a step holds at most max_chunk_tokens
/// \return total step time in ms, the constant included
/// \throws InvalidArgument
[[nodiscard]] double best_target_ms(const LatencyModel& model, std::span<const PromptWork> prompts,
                                    std::int64_t num_stages, const ChunkLimits& limits);

/// \brief The published rule: as long as the first chunk of a given size would take.
///
/// T = constant + (f(base) - f(0)), with f the time of a step of one chunk without history.
/// \param base_chunk_tokens in [1, kMaxTokens]
/// \return total step time in ms, the constant included
[[nodiscard]] double base_target_ms(const LatencyModel& model, std::int64_t base_chunk_tokens);

}  // namespace cpp_chunk
