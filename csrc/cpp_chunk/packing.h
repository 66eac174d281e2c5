#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "cpp_chunk/backlog_sample.h"
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

/// \brief Tokens of the same prompt that follow these; none follow a whole prompt.
[[nodiscard]] constexpr std::int64_t tokens_behind(const PromptWork& /*prompt*/) noexcept {
  return 0;
}
[[nodiscard]] constexpr std::int64_t tokens_behind(const PromptPiece& piece) noexcept {
  return piece.num_tokens_behind;
}

/// \brief Packs prompts into steps of target times as engines do, by the same ChunkSolver that
/// serves: first those that have begun, then further ones while the step has room.
/// \tparam Prompt PromptWork, or PromptPiece: chunks are then those of the whole prompt, but for
/// the
///   last one of the piece
/// \param targets the step times aimed at
/// \param flow_shop cleared, then sent every step: it holds the makespan and the number of steps
/// \param give_up when to stop: the packing is then of no use to the caller
/// \param sink called as sink(chunk) for every chunk, in order
/// \return false when given up
template <typename Prompt, typename Sink>
bool pack_steps(ChunkSolver& solver, std::span<const Prompt> prompts, const StepTargets& targets,
                FlowShop& flow_shop, const GiveUp& give_up, Sink&& sink) {
  flow_shop.clear();
  std::vector<Prompt> begun;
  std::size_t next = 0;
  while (next < prompts.size() || !begun.empty()) {
    if (flow_shop.num_steps() >= give_up.max_steps ||
        flow_shop.makespan_ms() > give_up.makespan_ms) {
      return false;
    }
    solver.begin_step(targets.at(static_cast<std::size_t>(flow_shop.num_steps())), targets.rest());
    std::int64_t room_tokens = solver.limits().max_chunk_tokens;
    const auto move_on = [&](Prompt& prompt) {
      const std::int64_t num_tokens =
          std::min(prompt.num_tokens, solver.chunk_tokens(prompt.num_tokens + tokens_behind(prompt),
                                                          prompt.num_computed_tokens, room_tokens));
      if (num_tokens > 0) {
        const Chunk chunk{.num_tokens = num_tokens,
                          .num_computed_tokens = prompt.num_computed_tokens};
        solver.add_chunk(chunk);
        sink(chunk);
        room_tokens -= num_tokens;
        prompt.num_tokens -= num_tokens;
        prompt.num_computed_tokens += num_tokens;
      }
      return num_tokens;
    };
    // A piece that was cut off its prompt ends the step: in the whole backlog the same prompt would
    // go on.
    const auto is_cut_off = [](const Prompt& prompt) {
      return prompt.num_tokens == 0 && tokens_behind(prompt) > 0;
    };
    bool is_open = true;
    for (Prompt& prompt : begun) {
      move_on(prompt);
      is_open = is_open && !is_cut_off(prompt);
    }
    std::erase_if(begun, [](const Prompt& prompt) { return prompt.num_tokens == 0; });
    for (; next < prompts.size() && room_tokens > 0 && is_open; ++next) {
      Prompt prompt = prompts[next];
      if (prompt.num_tokens > 0 && move_on(prompt) == 0) {
        break;
      }
      is_open = !is_cut_off(prompt);
      if (prompt.num_tokens > 0) {
        begun.push_back(prompt);
      }
    }
    if (solver.features().token_sum > 0.0) {
      flow_shop.add(solver.features());
    }
  }
  return true;
}

}  // namespace cpp_chunk
