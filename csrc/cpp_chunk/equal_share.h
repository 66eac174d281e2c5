#pragma once

#include <optional>

#include "cpp_chunk/latency_model.h"

namespace cpp_chunk {

/// \brief What each step costs when the rest of a prompt is spread over the fewest steps of a
/// capacity, each taking equal time.
///
/// Greedy chunks would leave a last step of arbitrary size, which costs the pipeline a whole round.
/// \param remaining_tokens of the prompt; > 0
/// \param num_computed_tokens of the prompt, before them
/// \param capacity_ms what the prompt may cost in a step, without the constant
/// \return ms without the constant; nothing where the history alone outgrows the capacity
[[nodiscard]] std::optional<double> equal_share_ms(const Coefficients& cost,
                                                   double remaining_tokens,
                                                   double num_computed_tokens, double capacity_ms);

}  // namespace cpp_chunk
