#pragma once

#include "cpp_chunk/chunk_limits.h"
#include "cpp_chunk/latency_model.h"
#include "cpp_chunk/stages.h"
#include "cpp_chunk/step.h"
#include "cpp_chunk/trials.h"

namespace cpp_chunk {

/// \brief Tries the step times of each usual fixed size that beats what there is: not only of the
/// best, which a plan may be unable to follow where a last chunk can be had with the one before it.
/// \param model of the stage that takes longest
/// \param prompt the whole backlog of the trials, which are not sampled
void try_fixed_sizes(const Stages& stages, const LatencyModel& model, const PromptWork& prompt,
                     const ChunkLimits& limits, Trials& trials);

}  // namespace cpp_chunk
