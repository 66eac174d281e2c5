#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <utility>
#include <vector>

#include "cpp_chunk/policy.h"
#include "cpp_chunk/stages.h"

namespace cpp_chunk {

/// \brief Follows terapipe_plan, made for each prompt at its first chunk as if it were alone.
///
/// A planned chunk that does not fit beside another prompt's in a step waits for the next. Where
/// decodes leave less room than a chunk needs, the prompt goes on to the planned chunk's end, and
/// through the next one if less than half of it is left. Equal prompts share a plan.
/// Source: TeraPipe (arXiv 2102.07988), whose dynamic programme terapipe_plan is.
class TerapipePolicy final : public ChunkPolicy {
 public:
  /// \param stages all equal
  /// \param max_chunk_tokens in [1, kMaxTokens]
  /// \param granule_tokens in [1, max_chunk_tokens]
  /// \throws InvalidArgument; while serving too, where terapipe_plan refuses a prompt, and for
  ///   plans of more than 10^6 chunks in all
  TerapipePolicy(const Stages& stages, std::int64_t max_chunk_tokens, std::int64_t granule_tokens);

  void set_backlog(std::span<const PromptWork> prompts, std::size_t num_under_way) override;
  void begin_step() override;
  [[nodiscard]] std::int64_t chunk_tokens(const PromptWork& prompt,
                                          std::int64_t max_tokens) override;
  void add_chunk(const Chunk& chunk) override;

 private:
  /// A prompt's end and how far it is: all that a policy can know it by.
  using Place = std::pair<std::int64_t, std::int64_t>;
  /// Where the chunks of a plan end, in order; the last is the prompt's end.
  using ChunkEnds = std::vector<std::int64_t>;

  [[nodiscard]] std::size_t plan_at(const Place& place);

  Stages stages_;
  std::int64_t max_chunk_tokens_;
  std::int64_t granule_tokens_;
  std::vector<ChunkEnds> plans_;
  std::size_t num_planned_chunks_ = 0;
  std::map<Place, std::size_t> plan_of_;  ///< which plan a prompt at a place follows

  Place asked_;
  std::size_t asked_plan_ = 0;
  bool is_asked_ = false;  ///< the chunk added next is the prefill asked about
  bool has_prefill_ = false;
};

}  // namespace cpp_chunk
