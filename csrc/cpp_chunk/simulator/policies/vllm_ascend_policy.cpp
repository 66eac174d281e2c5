#include "cpp_chunk/simulator/policies/vllm_ascend_policy.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>

#include "cpp_chunk/check.h"
#include "cpp_chunk/simulator/policies/chunk_rule.h"

namespace cpp_chunk {
namespace {

constexpr std::size_t kMinSamples = 5;
constexpr std::size_t kMaxSamples = 30;
constexpr int kNumTargetSteps = 3;

}  // namespace

VllmAscendPolicy::VllmAscendPolicy(const LatencyModel& model, std::int64_t base_chunk_tokens,
                                   double smooth_factor, std::int64_t min_chunk_tokens,
                                   std::int64_t block_tokens)
    : model_(history_free_model(model)),
      base_chunk_tokens_(base_chunk_tokens),
      smooth_factor_(smooth_factor),
      min_chunk_tokens_(min_chunk_tokens),
      alignment_(std::max(block_tokens, kRuleAlignmentTokens)),
      target_ms_(chunk_ms(model_, base_chunk_tokens, 0)) {
  check_count("base_chunk_tokens", base_chunk_tokens, 1);
  check_number("smooth_factor", smooth_factor, 1.0);
  check_count("min_chunk_tokens", min_chunk_tokens, 0);
  check_count("block_tokens", block_tokens, 1);
  samples_.reserve(kMaxSamples);
}

void VllmAscendPolicy::set_backlog(std::span<const PromptWork> /*prompts*/,
                                   std::size_t /*num_under_way*/) {}

void VllmAscendPolicy::begin_step() {
  left_ms_ = target_ms_;
  left_tokens_ = base_chunk_tokens_;
  is_step_empty_ = true;
}

double VllmAscendPolicy::solved_tokens(double budget_ms, double num_computed_tokens) const {
  // A fit without growing attention has no root to offer; the first phase's model then still has.
  const double slope_ms = attention_ms_ * num_computed_tokens + length_ms_;
  if (!is_fitted_ || attention_ms_ <= 0.0 || slope_ms < 0.0) {
    return model_.tokens_within(budget_ms, num_computed_tokens);
  }
  const double spendable_ms = budget_ms - length_ms_ * num_computed_tokens - request_ms_;
  if (spendable_ms <= 0.0) {
    return 0.0;
  }
  const double root = std::sqrt(slope_ms * slope_ms + 4.0 * attention_ms_ * spendable_ms);
  return 2.0 * spendable_ms / (slope_ms + root);
}

double VllmAscendPolicy::predicted_ms(const Chunk& chunk) const {
  if (!is_fitted_) {
    return chunk_ms(model_, chunk.num_tokens, chunk.num_computed_tokens);
  }
  const auto num_tokens = static_cast<double>(chunk.num_tokens);
  const double length = num_tokens + static_cast<double>(chunk.num_computed_tokens);
  return attention_ms_ * num_tokens * length + length_ms_ * length + request_ms_;
}

std::int64_t VllmAscendPolicy::chunk_tokens(const PromptWork& prompt, std::int64_t max_tokens) {
  is_asked_ = false;
  const std::int64_t cap = std::min({prompt.num_tokens, max_tokens, left_tokens_});
  if (cap <= 0 || (left_ms_ <= 0.0 && left_ms_ < target_ms_)) {
    return 0;
  }
  const std::int64_t smoothed = smoothed_tokens(
      base_chunk_tokens_, solved_tokens(left_ms_, static_cast<double>(prompt.num_computed_tokens)),
      smooth_factor_);
  const std::int64_t floored = std::max({smoothed, min_chunk_tokens_, std::int64_t{1}});
  is_asked_ = true;
  return std::min(cap, rounded_up(floored, alignment_));
}

void VllmAscendPolicy::add_chunk(const Chunk& chunk) {
  left_tokens_ -= chunk.num_tokens;
  if (is_asked_) {  // decodes are not sized by the rule, nor charged to its budget
    left_ms_ -= predicted_ms(chunk);
    is_asked_ = false;
  }
  if (samples_.size() < kMaxSamples || num_history_free_ < kNumTargetSteps) {
    if (is_step_empty_) {
      num_requests_.push_back(0);
    }
    ++num_requests_.back();
  }
  is_step_empty_ = false;
}

void VllmAscendPolicy::measured(const StepFeatures& features, double latency_ms) {
  if (num_requests_.empty()) {
    return;  // everything is learnt
  }
  const std::int64_t num_requests = num_requests_.front();
  num_requests_.pop_front();
  if (features.context_sum <= 0.0 && num_history_free_ < kNumTargetSteps) {
    history_free_sum_ms_ += latency_ms;
    ++num_history_free_;
    if (num_history_free_ == kNumTargetSteps) {
      target_ms_ = history_free_sum_ms_ / kNumTargetSteps;
    }
  }
  if (samples_.size() < kMaxSamples) {
    samples_.push_back({.attention = 2.0 * features.half_square_sum + features.cross_sum,
                        .length = features.token_sum + features.context_sum,
                        .num_requests = static_cast<double>(num_requests),
                        .latency_ms = latency_ms});
    if (samples_.size() >= kMinSamples) {
      fit();
    }
  }
}

void VllmAscendPolicy::fit() {
  const auto num_samples = static_cast<Eigen::Index>(samples_.size());
  Eigen::Matrix<double, Eigen::Dynamic, 3> rows(num_samples, 3);
  Eigen::VectorXd latencies_ms(num_samples);
  for (Eigen::Index i = 0; i < num_samples; ++i) {
    const Sample& sample = samples_[static_cast<std::size_t>(i)];
    rows.row(i) << sample.attention, sample.length, sample.num_requests;
    latencies_ms(i) = sample.latency_ms;
  }
  // Scaled, for the columns differ by ten orders of magnitude.
  const Eigen::RowVector3d scale = rows.colwise().norm();
  if (!scale.allFinite() || !latencies_ms.allFinite() || scale.minCoeff() <= 0.0) {
    return;
  }
  rows.array().rowwise() /= scale.array();
  const Eigen::Vector3d solution =
      rows.completeOrthogonalDecomposition().solve(latencies_ms).cwiseQuotient(scale.transpose());
  if (!solution.allFinite()) {
    return;
  }
  attention_ms_ = solution(0);
  length_ms_ = solution(1);
  request_ms_ = solution(2);
  is_fitted_ = true;
}

}  // namespace cpp_chunk
