#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>

#include "cpp_chunk/chunk_solver.h"
#include "cpp_chunk/flow_shop.h"
#include "cpp_chunk/step.h"
#include "cpp_chunk/step_targets.h"

namespace cpp_chunk {

/// \brief Where a packing stops early.
struct GiveUp {
  std::int64_t max_steps = 0;                                    ///< beyond this many steps
  double makespan_ms = std::numeric_limits<double>::infinity();  ///< once it cannot get below this
};

/// \brief Packs prompts, first come first served, into steps of target times, by the same
/// ChunkSolver that serves.
///
/// A step closes at the first prompt that it cannot finish; engines may add a chunk of the next.
/// \param targets the step times aimed at
/// \param flow_shop cleared, then sent every step: it holds the makespan and the number of steps
/// \param give_up when to stop: the packing is then of no use to the caller
/// \param sink called as sink(chunk) for every chunk, in order
/// \return false when given up
template <typename Sink>
bool pack_steps(ChunkSolver& solver, std::span<const PromptWork> prompts,
                const StepTargets& targets, FlowShop& flow_shop, const GiveUp& give_up,
                Sink&& sink) {
  flow_shop.clear();
  std::size_t next = 0;
  PromptWork prompt = prompts.empty() ? PromptWork{} : prompts.front();
  while (next < prompts.size()) {
    if (flow_shop.num_steps() >= give_up.max_steps ||
        flow_shop.makespan_ms() > give_up.makespan_ms) {
      return false;
    }
    solver.begin_step(targets.at(static_cast<std::size_t>(flow_shop.num_steps())), targets.rest());
    std::int64_t admitted_tokens = solver.limits().max_chunk_tokens;
    bool is_open = true;
    bool is_empty = true;
    while (is_open && next < prompts.size()) {
      const std::int64_t num_tokens =
          solver.chunk_tokens(prompt.num_tokens, prompt.num_computed_tokens, admitted_tokens);
      if (num_tokens > 0) {
        const Chunk chunk{.num_tokens = num_tokens,
                          .num_computed_tokens = prompt.num_computed_tokens};
        solver.add_chunk(chunk);
        sink(chunk);
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
      flow_shop.add(solver.features());
    }
  }
  return true;
}

}  // namespace cpp_chunk
