#pragma once

#include <span>

#include "cpp_chunk/stages.h"
#include "cpp_chunk/step.h"

namespace cpp_chunk {

/// \brief A time that no steps, of any number and size, aligned or not, take less than to bring a
/// backlog through the stages.
///
/// Of equal stages whose work no cut changes it is (sqrt(W) + sqrt((S-1)*c))^2, which a plan can
/// come close to. Where history costs (context > 0), or quadratic and cross differ, it is some per
/// cent lower than the best plan; of unequal stages up to some tens of per cent.
/// \param prompts what is left of each; tokens >= 0, not all 0
/// \return ms
/// \throws InvalidArgument
[[nodiscard]] double makespan_bound_ms(const Stages& stages, std::span<const PromptWork> prompts);

}  // namespace cpp_chunk
