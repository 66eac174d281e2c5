#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cpp_chunk/chunk_solver.h"
#include "cpp_chunk/stages.h"

namespace cpp_chunk {

/// \brief How many of a model's layers each stage gets (VLLM_PP_LAYER_PARTITION).
struct LayerSplit {
  std::vector<std::int64_t> layers;
  double makespan_ms = 0.0;         ///< of the prompt with these layers
  double makespan_before_ms = 0.0;  ///< with those that the stages were measured with
};

/// \brief vLLM's own split: equal shares; what is left over goes to the stages before the last.
/// \param num_layers >= num_stages
/// \throws InvalidArgument
[[nodiscard]] std::vector<std::int64_t> default_layer_split(std::int64_t num_layers,
                                                            std::int64_t num_stages);

/// \brief The split that makes stages take equal time for a prompt, as near as whole layers allow.
///
/// A layer of a stage is taken to cost what the stage's layers cost on average.
/// \param layers of each stage, when its model was measured; each >= 1
/// \param prompt_tokens the prompt that counts, in [1, kMaxTokens]
/// \param limits of its chunks
/// \return layers as given when nothing better exists
/// \throws InvalidArgument
[[nodiscard]] LayerSplit best_layer_split(const Stages& stages, std::int64_t prompt_tokens,
                                          std::span<const std::int64_t> layers,
                                          const ChunkLimits& limits);

}  // namespace cpp_chunk
