#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "cpp_chunk/latency_model.h"
#include "cpp_chunk/policy.h"

namespace cpp_chunk {

/// \brief vllm-ascend's profiling-based dynamic chunks, both phases.
///
/// At first as SGLang's rule, fitted to prefills without history: f(h + x) - f(h) = T with
/// T = f(base) - f(0). From 5 measured steps on, up to 30, the time of a step is fitted by
/// a*sum(C(C + H)) + b*sum(C + H) + c*N over its N requests of C tokens after H, and the chunk
/// solves a*C(C + H) + b*(C + H) + c = T. The mean time of the first three steps without history,
/// of whatever size, overwrites T. What is left of T runs down over a step's prefills; each is
/// smoothed, at least min_chunk_tokens, and rounded up to the KV block or 64 tokens.
/// Source: vllm-ascend's design document "Dynamic Chunked Pipeline Parallel" and its pull requests
/// 7896, 8769 and 10035. Where the document and the engine differ (it rounds up), the engine.
class VllmAscendPolicy final : public ChunkPolicy {
 public:
  /// \param model one stage; the first phase sees its quadratic, linear and constant terms
  /// \param base_chunk_tokens the engine's max_num_batched_tokens, in [1, kMaxTokens]
  /// \param smooth_factor in [0, 1]
  /// \param min_chunk_tokens in [0, kMaxTokens]
  /// \param block_tokens of the KV cache, in [1, kMaxTokens]
  /// \throws InvalidArgument
  VllmAscendPolicy(const LatencyModel& model, std::int64_t base_chunk_tokens,
                   double smooth_factor = 1.0, std::int64_t min_chunk_tokens = 4096,
                   std::int64_t block_tokens = 128);

  void set_backlog(std::span<const PromptWork> prompts, std::size_t num_under_way) override;
  void begin_step() override;
  [[nodiscard]] std::int64_t chunk_tokens(const PromptWork& prompt,
                                          std::int64_t max_tokens) override;
  void add_chunk(const Chunk& chunk) override;
  void measured(const StepFeatures& features, double latency_ms) override;

  /// \brief Step time aimed at, in ms.
  [[nodiscard]] double target_ms() const noexcept { return target_ms_; }
  /// \brief Whether the second phase has begun.
  [[nodiscard]] bool is_fitted() const noexcept { return is_fitted_; }

 private:
  /// The second phase's terms of a step, and its measured time.
  struct Sample {
    double attention = 0.0;  ///< sum of C(C + H)
    double length = 0.0;     ///< sum of C + H
    double num_requests = 0.0;
    double latency_ms = 0.0;
  };

  [[nodiscard]] double solved_tokens(double budget_ms, double num_computed_tokens) const;
  [[nodiscard]] double predicted_ms(const Chunk& chunk) const;
  void fit();

  LatencyModel model_;
  std::int64_t base_chunk_tokens_;
  double smooth_factor_;
  std::int64_t min_chunk_tokens_;
  std::int64_t alignment_;
  double target_ms_;

  double left_ms_ = 0.0;
  std::int64_t left_tokens_ = 0;

  bool is_asked_ = false;  ///< the chunk added next is the prefill asked about
  bool is_step_empty_ = true;
  std::deque<std::int64_t> num_requests_;  ///< of the steps not yet measured
  std::vector<Sample> samples_;
  int num_history_free_ = 0;
  double history_free_sum_ms_ = 0.0;
  bool is_fitted_ = false;
  double attention_ms_ = 0.0;  ///< a, b and c of the second phase
  double length_ms_ = 0.0;
  double request_ms_ = 0.0;
};

}  // namespace cpp_chunk
