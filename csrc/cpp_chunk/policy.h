#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cpp_chunk/step.h"

namespace cpp_chunk {

/// \brief Of a queue, no more prompts than this are told to a policy: what it plans for more of
/// them is no different, and telling them takes time in every step.
inline constexpr std::size_t kMaxToldPrompts = 64;

/// \brief A policy is told the backlog anew after so many steps, though nobody has come or gone:
/// the histories of decodes have grown by then, and with them what a step costs.
inline constexpr std::int64_t kTellEverySteps = 64;

/// \brief Who decides how many tokens each prefill gets in a step.
///
/// What a scheduler calls, in this order: set_decodes and set_backlog when requests have come,
/// gone, or ended their prefill since the last step, and every kTellEverySteps; begin_step; then
/// for every prefill that could have a chunk chunk_tokens, followed by add_chunk once it has one,
/// and for every decode add_chunk alone; step_scheduled once the step is complete, under its
/// number; step_left, and measured, once it has left the last stage.
/// What was asked and added counts for the step under way alone: what is done is what
/// step_scheduled says.
/// A policy may throw InvalidArgument for counts outside of [0, kMaxTokens]. Not thread-safe.
class ChunkPolicy {
 public:
  ChunkPolicy() = default;
  ChunkPolicy(const ChunkPolicy&) = default;
  ChunkPolicy(ChunkPolicy&&) = default;
  ChunkPolicy& operator=(const ChunkPolicy&) = default;
  ChunkPolicy& operator=(ChunkPolicy&&) = default;
  virtual ~ChunkPolicy() = default;

  /// \brief How many requests are past their prefill, each in one of the steps in flight.
  /// \param num_computed_tokens the sum of their histories
  /// \param tokens_each more than 1 with speculative tokens
  virtual void set_decodes(std::int64_t /*num_decodes*/, std::int64_t /*num_computed_tokens*/,
                           std::int64_t /*tokens_each*/) {}

  /// \brief What waits or is part-way, as it stands before the next step.
  /// \param prompts first those under way, then those that wait, first come first; tokens > 0; of
  ///   longer queues the first kMaxToldPrompts
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

  /// \brief A step went off.
  /// \param step its number; they rise
  /// \param prefills its chunks without the decodes
  virtual void step_scheduled(std::int64_t /*step*/, std::span<const Chunk> /*prefills*/) {}

  /// \brief A step has left the last stage, and so have all before it.
  virtual void step_left(std::int64_t /*step*/) {}

  /// \brief How long a step took on its slowest stage, for policies that learn while serving.
  virtual void measured(const StepFeatures& /*features*/, double /*latency_ms*/) {}
};

}  // namespace cpp_chunk
