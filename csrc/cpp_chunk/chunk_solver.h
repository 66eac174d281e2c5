#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "cpp_chunk/chunk_grid.h"
#include "cpp_chunk/chunk_limits.h"
#include "cpp_chunk/latency_model.h"
#include "cpp_chunk/rest_handling.h"
#include "cpp_chunk/stages.h"
#include "cpp_chunk/step.h"

namespace cpp_chunk {

/// \brief Chooses chunks so that steps take equal time.
///
/// One step at a time: begin_step, then for each request either add_chunk alone (decodes, whose
/// size is given) or chunk_tokens followed by add_chunk. What must hold of a chunk, in the order
/// of precedence:
///  1. it is at most the remaining tokens, max_tokens and max_chunk_tokens, and max_step_ms
///     holds but for one alignment step in a step without other prefills;
///  2. the first chunk of a step, and the first after nothing but decodes, is never 0: prompts
///     always move on;
///  3. it ends on a multiple of the alignment, unless it ends the prompt or 1. forbids that, and
///     is a multiple of the preferred ones that are small beside it;
///  4. it costs at most what the target leaves plus one alignment step of tokens; beyond that go
///     only the floor of an empty step, min_chunk_tokens (by up to a quarter, to end the prompt),
///     and the share of base_chunk_tokens that smooth_factor asks for;
///  5. where the rest is shared out it leaves nothing, or at least half of itself less one
///  alignment
///     step, unless min_chunk_tokens forbids that: a tiny last chunk would cost the pipeline a
///     whole round.
/// The rest of the prompt is spread over the fewest steps of the target, so a chunk can be well
/// below its budget. With smooth_factor 0 chunks are min(base_chunk_tokens, caps) and nothing else.
/// Not thread-safe: one scheduler owns it.
class ChunkSolver {
 public:
  /// \param smooth_factor in [0, 1]: how far the first chunk of a step moves from
  ///   base_chunk_tokens (0, fixed chunks) to the solved one (1)
  /// \param base_chunk_tokens in [1, max_chunk_tokens]; by default max_chunk_tokens
  /// \throws InvalidArgument
  ChunkSolver(const LatencyModel& model, const ChunkLimits& limits, double smooth_factor = 1.0,
              std::optional<std::int64_t> base_chunk_tokens = std::nullopt);

  /// \brief Starts a new, empty step.
  /// \param target_ms step time to aim at, the constant included; >= 0, infinity for no target
  /// \param rest what becomes of a rest that does not fill its last step
  void begin_step(double target_ms, Rest rest = Rest::shared_out);

  /// \brief Aims the step under way at another time: a prompt has joined the backlog.
  /// \param target_ms, rest as for begin_step
  void set_target(double target_ms, Rest rest = Rest::shared_out);

  /// \brief Prices steps by another model from now on, the step under way included; max_step_ms
  /// holds by it alone.
  void set_model(const LatencyModel& model);

  /// \brief Prices steps by the model of one stage; max_step_ms holds on all of them.
  /// \param priced_stage of the stages, the one that takes longest
  void set_stages(const Stages& stages, std::size_t priced_stage);

  /// \brief The chunk for a request in the step as it stands; commits nothing.
  /// \param remaining_tokens tokens of the prompt still to compute
  /// \param num_computed_tokens tokens of the prompt already computed
  /// \param max_tokens what the engine still admits to this step
  /// \return tokens; 0 when the step is full, or nothing remains or is admitted
  [[nodiscard]] std::int64_t chunk_tokens(std::int64_t remaining_tokens,
                                          std::int64_t num_computed_tokens,
                                          std::int64_t max_tokens) const;

  /// \brief Puts a chunk into the step, whoever chose it. One token counts as a decode; none is
  /// ignored.
  void add_chunk(const Chunk& chunk);

  /// \brief Puts many decodes into the step at once.
  /// \param num_computed_tokens the sum of their histories
  /// \param tokens_each more than 1 with speculative tokens
  void add_decodes(std::int64_t num_decodes, std::int64_t num_computed_tokens,
                   std::int64_t tokens_each = 1);

  /// \brief Predicted time of the step so far in ms, the constant included.
  [[nodiscard]] double step_ms() const noexcept { return model_.step_ms(features_); }

  /// \brief The step time aimed at in ms, the constant included; negative before the first step.
  [[nodiscard]] double target_ms() const noexcept { return target_ms_; }

  /// \brief What the step holds so far.
  [[nodiscard]] const StepFeatures& features() const noexcept { return features_; }

  [[nodiscard]] const LatencyModel& model() const noexcept { return model_; }
  [[nodiscard]] const ChunkLimits& limits() const noexcept { return limits_; }

 private:
  [[nodiscard]] std::int64_t cap_tokens(std::int64_t remaining_tokens,
                                        std::int64_t num_computed_tokens,
                                        std::int64_t max_tokens) const;
  [[nodiscard]] double shared_tokens(double remaining_tokens, double num_computed_tokens,
                                     double capacity_ms) const;

  [[nodiscard]] std::int64_t aligned_chunk(std::int64_t num_tokens,
                                           std::int64_t num_computed_tokens, std::int64_t quantum,
                                           std::int64_t floor_tokens, std::int64_t cap) const;
  [[nodiscard]] bool is_clearly_full(std::int64_t remaining_tokens,
                                     std::int64_t num_computed_tokens) const;
  [[nodiscard]] std::int64_t shortened(std::int64_t chunk, std::int64_t remaining_tokens,
                                       std::int64_t num_computed_tokens, std::int64_t floor_tokens,
                                       std::int64_t cap) const;

  LatencyModel model_;
  std::vector<LatencyModel> other_models_;  ///< of stages that max_step_ms holds on as well
  ChunkLimits limits_;
  ChunkGrid grid_;
  double smooth_factor_;
  std::int64_t base_chunk_tokens_;

  double target_ms_ = -1.0;  ///< negative until the first begin_step
  Rest rest_ = Rest::shared_out;
  StepFeatures features_;
  bool is_empty_ = true;
  bool has_prefill_ = false;
};

}  // namespace cpp_chunk
