#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cpp_chunk/step.h"

namespace cpp_chunk {

/// \brief A piece of a prompt: tokens in a row.
struct PromptPiece : PromptWork {
  std::int64_t num_tokens_behind = 0;  ///< of the same prompt
};

/// \brief Pieces of a backlog that cost per token what the whole does.
///
/// The backlog is cut in its order into parts of equally many tokens, and the middle of each part
/// is taken: so deep and shallow histories, short and long prompts come in their shares. Behind
/// them comes the end of the prompt with the deepest history: a step time that is too short for it
/// must not look good.
/// \param times > 1: how many times as many tokens the backlog should have as its sample
/// \param alignment pieces begin on multiples of it where they begin within a prompt
/// \param sample filled with the pieces, in order
/// \return how many times as many tokens the backlog has
double sample_prompts(std::span<const PromptWork> prompts, double times, std::int64_t alignment,
                      std::vector<PromptPiece>& sample);

}  // namespace cpp_chunk
