#pragma once

#include <cstdint>
#include <span>

#include "cpp_chunk/chunk_solver.h"
#include "cpp_chunk/latency_model.h"
#include "cpp_chunk/stages.h"
#include "cpp_chunk/step.h"
#include "cpp_chunk/step_targets.h"

namespace cpp_chunk {

/// \brief The step times that get a backlog through the pipeline soonest.
///
/// N steps of t_i through S equal stages take sum(t_i) + (S-1)*max(t_i), so equal steps are
/// right. Their number: with W the work that no cut changes and c the cost of a step, the best
/// is N = sqrt((S-1)*W/c), T = c + sqrt(W*c/(S-1)). The same expression, with the context and
/// the unequal prices of quadratic and cross put in, is minimised over N (BacklogFlow); then real
/// plans around that N, with their alignment and tails, are compared. On unequal stages ramps
/// (Ramp) are compared as well, and for a single prompt the usual fixed sizes, which win where no
/// steps of equal time exist.
/// \param prompts what is left of each waiting prompt, as one flow; tokens >= 0, not all 0
/// \param limits of every chunk; a step holds at most max_chunk_tokens
/// \return times on the slowest stage for these prompts, in ms, the constant included
/// \throws InvalidArgument
[[nodiscard]] StepTargets best_step_targets(const Stages& stages,
                                            std::span<const PromptWork> prompts,
                                            const ChunkLimits& limits);

/// \brief The longest of best_step_targets, in ms.
[[nodiscard]] double best_target_ms(const Stages& stages, std::span<const PromptWork> prompts,
                                    const ChunkLimits& limits);

/// \brief The stage whose model steps are priced with: the one that takes longest for a backlog.
/// \throws InvalidArgument
[[nodiscard]] std::size_t slowest_stage(const Stages& stages, std::span<const PromptWork> prompts);

/// \brief The published rule: as long as the first chunk of a given size would take.
///
/// T = constant + (f(base) - f(0)), with f the time of a step of one chunk without history.
/// \param base_chunk_tokens in [1, kMaxTokens]
/// \return total step time in ms, the constant included
[[nodiscard]] double base_target_ms(const LatencyModel& model, std::int64_t base_chunk_tokens);

}  // namespace cpp_chunk
