#pragma once

#include <cstddef>
#include <span>

#include "cpp_chunk/step.h"

namespace cpp_chunk {

/// \brief Fewest measured steps a fit accepts: five unknowns, and enough to outvote an outlier.
inline constexpr std::size_t kMinFitPoints = 8;

/// \brief Whether a measured step can go into a fit.
[[nodiscard]] bool is_usable(const MeasuredStep& step) noexcept;

/// \throws InvalidArgument naming the first step that cannot go into a fit
void check_usable(std::span<const MeasuredStep> steps);

/// \brief Refuses, with what to measure instead, steps that by their kind carry no model.
/// \throws FitRefused for too few of them, chunks of one size only or none with history
void check_diversity(std::span<const MeasuredStep> steps);

}  // namespace cpp_chunk
