#pragma once

#include "cpp_chunk/backlog_flow.h"
#include "cpp_chunk/step_range.h"
#include "cpp_chunk/trials.h"

namespace cpp_chunk {

/// \brief Tries steps of equal time: around the best number of them by the closed form, then
/// longer ones, then around the best of all those.
/// \param flow of the backlog that is tried
/// \param range numbers of steps that are tried
/// \param cap_ms the time of a step that only the cap ends
void try_equal_steps(const BacklogFlow& flow, const StepRange& range, double cap_ms,
                     Trials& trials);

}  // namespace cpp_chunk
