#pragma once

#include <span>
#include <vector>

#include "cpp_chunk/fit_report.h"
#include "cpp_chunk/fit_workspace.h"
#include "cpp_chunk/step.h"

namespace cpp_chunk {

/// \brief Non-negative, relative-error, outlier-robust least squares for the latency model.
/// \param steps measured steps: latency_ms finite and > 0, at least one token each
/// \param workspace with room for all of them
/// \throws InvalidArgument for an unusable step, FitRefused when the steps do not carry a model
[[nodiscard]] FitReport fit_latency_model(std::span<const MeasuredStep> steps,
                                          FitWorkspace& workspace);

/// \brief As above with a workspace of its own.
[[nodiscard]] FitReport fit_latency_model(std::span<const MeasuredStep> steps);

/// \brief Of the steps that the workspace's last fit was given, those that got a weight in it.
[[nodiscard]] std::vector<MeasuredStep> inliers_of(std::span<const MeasuredStep> steps,
                                                   const FitWorkspace& workspace);

}  // namespace cpp_chunk
