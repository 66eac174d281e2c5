#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cpp_chunk/step.h"

namespace cpp_chunk {

/// \brief Who decides how many tokens each prefill gets in a step.
///
/// What a scheduler asks, in this order: set_backlog when prompts have joined since the last
/// step; begin_step; then, first come first served, for every prefill chunk_tokens followed by
/// add_chunk, and for every decode add_chunk alone; and measured once the step's time is known.
/// A policy may throw InvalidArgument for counts outside of [0, kMaxTokens]. Not thread-safe.
class ChunkPolicy {
 public:
  ChunkPolicy() = default;
  ChunkPolicy(const ChunkPolicy&) = default;
  ChunkPolicy(ChunkPolicy&&) = default;
  ChunkPolicy& operator=(const ChunkPolicy&) = default;
  ChunkPolicy& operator=(ChunkPolicy&&) = default;
  virtual ~ChunkPolicy() = default;

  /// \brief What waits or is part-way, as it stands before the next step.
  /// \param prompts first those under way, then those that wait, first come first; tokens > 0
  /// \param num_under_way how many of them, from the front, have chunks in earlier steps
  virtual void set_backlog(std::span<const PromptWork> prompts, std::size_t num_under_way) = 0;

  /// \brief A new, empty step.
  virtual void begin_step() = 0;

  /// \brief The chunk of a prompt in the step as it stands; commits nothing.
  /// \param prompt what is left of it
  /// \param max_tokens what the engine still admits to this step
  /// \return tokens in [0, min(prompt.num_tokens, max_tokens)]; 0 leaves it to a later step
  [[nodiscard]] virtual std::int64_t chunk_tokens(const PromptWork& prompt,
                                                  std::int64_t max_tokens) = 0;

  /// \brief The step now holds this chunk as well, whoever chose it; one token is a decode.
  virtual void add_chunk(const Chunk& chunk) = 0;

  /// \brief How long a step took on its slowest stage, for policies that learn while serving.
  virtual void measured(const StepFeatures& /*features*/, double /*latency_ms*/) {}
};

}  // namespace cpp_chunk
