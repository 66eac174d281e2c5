#pragma once

#include <array>
#include <cstddef>
#include <optional>

namespace cpp_chunk {

/// \brief How many steps tell whether there is drift.
inline constexpr std::size_t kDriftSteps = 12;

/// \brief The factor that steps have left their model by: another clock, neighbour, graph path.
///
/// They have drifted when nearly all of them are off to the same side and by more than noise
/// alone would be.
/// \param log_ratios of the last steps: the logarithm of measured over predicted
/// \param noise relative error that the model is known to have, >= 0
[[nodiscard]] std::optional<double> drift_factor(std::array<double, kDriftSteps> log_ratios,
                                                 double noise);

}  // namespace cpp_chunk
