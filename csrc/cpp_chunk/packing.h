#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "cpp_chunk/chunk_solver.h"

namespace cpp_chunk {

/// \brief The steps that a backlog was packed into.
struct PackedSteps {
  double sum_ms = 0.0;  ///< of all steps, on one stage
  double max_ms = 0.0;  ///< of the longest step
  std::int64_t num_steps = 0;
  bool is_complete = true;  ///< false when the packing was given up

  /// \brief When the last step leaves the last of equal stages.
  [[nodiscard]] double makespan_ms(std::int64_t num_stages) const noexcept {
    return num_stages > 1 ? sum_ms + static_cast<double>(num_stages - 1) * max_ms : sum_ms;
  }
};

/// \brief Where a packing stops early.
struct GiveUp {
  std::int64_t max_steps = 0;                                    ///< beyond this many steps
  double makespan_ms = std::numeric_limits<double>::infinity();  ///< once it cannot get below this
};

/// \brief Packs prompts, first come first served, into steps of a target time, by the same
/// ChunkSolver that serves.
///
/// A step closes at the first prompt that it cannot finish; engines may add a chunk of the next.
/// \param sink called as sink(chunk) for every chunk, in order
/// \param num_stages pipeline stages that the makespan is for
/// \param give_up when to stop: the packing is then of no use to the caller
template <typename Sink>
PackedSteps pack_steps(ChunkSolver& solver, std::span<const PromptWork> prompts, double target_ms,
                       std::int64_t num_stages, const GiveUp& give_up, Sink&& sink) {
  PackedSteps packed;
  std::size_t next = 0;
  PromptWork prompt = prompts.empty() ? PromptWork{} : prompts.front();
  while (next < prompts.size()) {
    if (packed.num_steps >= give_up.max_steps ||
        packed.makespan_ms(num_stages) > give_up.makespan_ms) {
      packed.is_complete = false;
      break;
    }
    solver.begin_step(target_ms);
    std::int64_t admitted_tokens = solver.limits().max_chunk_tokens;
    bool is_open = true;
    bool is_empty = true;
    while (is_open && next < prompts.size()) {
      const std::int64_t num_tokens =
          solver.chunk_tokens(prompt.num_tokens, prompt.num_computed_tokens, admitted_tokens);
      if (num_tokens > 0) {
        solver.add_chunk(num_tokens, prompt.num_computed_tokens);
        sink(Chunk{.num_tokens = num_tokens, .num_computed_tokens = prompt.num_computed_tokens});
        admitted_tokens -= num_tokens;
        prompt.num_tokens -= num_tokens;
        prompt.num_computed_tokens += num_tokens;
        is_empty = false;
      }
      if (prompt.num_tokens == 0) {
        ++next;
        if (next < prompts.size()) {
          prompt = prompts[next];
        }
      } else {
        is_open = false;
      }
    }
    if (!is_empty) {
      const double step_ms = solver.step_ms();
      packed.sum_ms += step_ms;
      packed.max_ms = std::max(packed.max_ms, step_ms);
      ++packed.num_steps;
    }
  }
  return packed;
}

}  // namespace cpp_chunk
