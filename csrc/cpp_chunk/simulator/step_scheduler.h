#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "cpp_chunk/policy.h"
#include "cpp_chunk/simulator/simulated_pipeline.h"
#include "cpp_chunk/simulator/simulated_request.h"
#include "cpp_chunk/simulator/simulation_result.h"
#include "cpp_chunk/step.h"

namespace cpp_chunk {

/// \brief A step as it was formed, and what it will yield.
struct ScheduledStep {
  std::int64_t number = 0;  ///< they rise by one
  StepFeatures features;
  std::vector<Chunk> prefills;
  /// Requests that get a token when the step leaves the last stage, first come first.
  std::vector<std::uint32_t> token_requests;
  std::vector<StepChunk> chunks;  ///< only when recorded
};

/// \brief Forms steps as vLLM's scheduler does: requests under way first, then waiting ones, first
/// come first served, within the tokens of a step and the requests under way at once.
///
/// A decode waits for the token before it; prefill chunks follow each other through the pipeline. A
/// waiting prompt that gets nothing ends the step. Forming a step takes time in proportion to what
/// is in it, however many requests wait.
class StepScheduler {
 public:
  /// \param pipeline checked; must outlive this object, as must the policy
  /// \param requests the workload
  /// \param policy who sizes the chunks
  /// \param records_chunks whether steps list their chunks
  /// \throws InvalidArgument for a request outside of what SimulatedRequest documents
  StepScheduler(const SimulatedPipeline& pipeline, std::span<const SimulatedRequest> requests,
                ChunkPolicy& policy, bool records_chunks);

  /// \brief Lets in whoever has arrived and has a place.
  void enter_until(double now_ms);

  /// \brief When the next request enters if nothing else happens; infinity if none does.
  [[nodiscard]] double next_entry_ms() const;

  /// \brief Whether any request could have tokens in a step now.
  [[nodiscard]] bool has_work() const;

  /// \brief Fills a step.
  /// \return false when the policy gave nothing to anyone: the step is then empty
  /// \throws InvalidArgument when the policy's chunk is out of its range
  [[nodiscard]] bool form_step(ScheduledStep& step);

  /// \brief Hands out the tokens of a step that has left the last stage.
  void finish_step(const ScheduledStep& step, double now_ms);

  [[nodiscard]] bool is_done() const noexcept { return num_finished_ == progress_.size(); }
  /// \brief By the order given.
  [[nodiscard]] std::vector<RequestTimes>& times() noexcept { return times_; }
  [[nodiscard]] std::vector<double>& inter_token_ms() noexcept { return inter_token_ms_; }
  [[nodiscard]] double prompt_tokens() const noexcept { return prompt_tokens_; }
  [[nodiscard]] double output_tokens() const noexcept { return output_tokens_; }

 private:
  /// How far a request is, counting what steps in flight hold.
  struct Progress {
    std::size_t index = 0;  ///< in the order given
    double arrival_ms = 0.0;
    std::int64_t prompt_tokens = 0;
    std::int64_t num_computed_tokens = 0;
    std::int64_t outputs_left = 0;
    double last_token_ms = 0.0;
    bool has_token = false;

    [[nodiscard]] bool is_prefilling() const noexcept {
      return num_computed_tokens < prompt_tokens;
    }
    [[nodiscard]] PromptWork work() const noexcept {
      return {.num_tokens = prompt_tokens - num_computed_tokens,
              .num_computed_tokens = num_computed_tokens};
    }
  };

  void tell_backlog();
  void schedule_under_way(ScheduledStep& step, std::int64_t& room_tokens);
  void schedule_waiting(ScheduledStep& step, std::int64_t& room_tokens);
  [[nodiscard]] std::int64_t asked_tokens(const Progress& progress, std::int64_t room_tokens);
  void add(ScheduledStep& step, std::uint32_t request, std::int64_t num_tokens);
  void return_to_ready(std::span<const std::uint32_t> requests);

  const SimulatedPipeline& pipeline_;
  ChunkPolicy& policy_;
  bool records_chunks_;

  std::vector<Progress> progress_;  ///< by arrival: the order in which all is served
  std::vector<RequestTimes> times_;
  std::vector<double> inter_token_ms_;
  double prompt_tokens_ = 0.0;
  double output_tokens_ = 0.0;

  std::size_t num_entered_ = 0;   ///< inside or done; those from num_admitted_ on are waiting
  std::size_t num_admitted_ = 0;  ///< have had a chunk
  std::size_t num_finished_ = 0;
  double place_free_ms_ = 0.0;  ///< when the last place of a full house got free

  /// Under way and schedulable, by arrival, from ready_begin_ on: prefills, and decodes whose last
  /// token is back.
  std::vector<std::uint32_t> ready_;
  std::size_t ready_begin_ = 0;
  std::vector<std::uint32_t> kept_;  ///< scratch
  std::vector<std::uint32_t> continuing_;
  std::vector<std::uint32_t> merged_;

  /// What is left of each prompt that waits, in its place; those under way are written before
  /// them, where admitted ones were: so a policy gets one span and nothing is copied.
  std::vector<PromptWork> backlog_;
  bool backlog_changed_ = false;
  std::int64_t num_steps_ = 0;
  std::int64_t last_told_step_ = 0;
  std::int64_t num_decodes_ = 0;            ///< requests past their prefill
  std::int64_t decode_context_tokens_ = 0;  ///< the sum of their histories
};

}  // namespace cpp_chunk
