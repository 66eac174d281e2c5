#include "cpp_chunk/chunk_solver.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>

#include "cpp_chunk/check.h"
#include "cpp_chunk/equal_share.h"
#include "cpp_chunk/error.h"
#include "cpp_chunk/number_text.h"

namespace cpp_chunk {
namespace {

// Times that were made for certain chunks must not lose one to rounding.
constexpr double kRowTolerance = 1e-9;
// The last chunk is to be at least half of the one before it: two thirds of a rest now, one third
// later.
constexpr double kTailShare = 2.0 / 3.0;
// How far a chunk may go over its budget to end the prompt: an alignment step, or this part of
// the budget where alignment steps are coarse.
constexpr double kToleratedShare = 0.25;
// How far the floor of an empty step may be stretched to end the prompt.
constexpr double kFloorStretch = 1.25;

ChunkLimits checked(ChunkLimits limits) {
  limits.check();
  return limits;
}

std::int64_t to_tokens(double num_tokens, std::int64_t cap) {
  return num_tokens < static_cast<double>(cap) ? static_cast<std::int64_t>(num_tokens) : cap;
}

}  // namespace

ChunkSolver::ChunkSolver(const LatencyModel& model, const ChunkLimits& limits, double smooth_factor,
                         std::optional<std::int64_t> base_chunk_tokens)
    : limits_(checked(limits)),
      grid_(limits_),
      smooth_factor_(smooth_factor),
      base_chunk_tokens_(base_chunk_tokens.value_or(limits.max_chunk_tokens)) {
  set_model(model);
  check_number("smooth_factor", smooth_factor, 1.0);
  if (base_chunk_tokens_ < 1 || base_chunk_tokens_ > limits.max_chunk_tokens) {
    throw InvalidArgument(
        "base_chunk_tokens",
        "in [1, max_chunk_tokens " + std::to_string(limits.max_chunk_tokens) + "]",
        std::to_string(base_chunk_tokens_));
  }
}

void ChunkSolver::set_target(double target_ms, Rest rest) {
  if (!(target_ms >= 0.0)) {
    throw InvalidArgument("target_ms", ">= 0", shown(target_ms));
  }
  target_ms_ = target_ms;
  rest_ = rest;
}

void ChunkSolver::set_model(const LatencyModel& model) {
  other_models_.clear();
  model_ = model;
}

void ChunkSolver::set_stages(const Stages& stages, std::size_t priced_stage) {
  set_model(stages[priced_stage]);
  if (std::isinf(limits_.max_step_ms)) {
    return;
  }
  for (const LatencyModel& model : stages.models()) {
    if (model != model_) {
      other_models_.push_back(model);
    }
  }
}

void ChunkSolver::begin_step(double target_ms, Rest rest) {
  set_target(target_ms, rest);
  features_ = {};
  is_empty_ = true;
  has_prefill_ = false;
}

// The chunk of an equal share of the rest.
double ChunkSolver::shared_tokens(double remaining_tokens, double num_computed_tokens,
                                  double capacity_ms) const {
  const std::optional<double> share_ms =
      equal_share_ms(model_.coefficients(), remaining_tokens, num_computed_tokens, capacity_ms);
  return share_ms ? model_.tokens_within(*share_ms, num_computed_tokens)
                  : std::numeric_limits<double>::infinity();
}

// The cap of a chunk in the step as it stands.
std::int64_t ChunkSolver::cap_tokens(std::int64_t remaining_tokens,
                                     std::int64_t num_computed_tokens,
                                     std::int64_t max_tokens) const {
  const std::int64_t cap = std::min({remaining_tokens, max_tokens, limits_.max_chunk_tokens});
  if (std::isinf(limits_.max_step_ms)) {
    return cap;
  }
  const auto history = static_cast<double>(num_computed_tokens);
  double bounded_tokens = model_.tokens_within(limits_.max_step_ms - step_ms(), history);
  for (const LatencyModel& model : other_models_) {
    bounded_tokens =
        std::min(bounded_tokens,
                 model.tokens_within(limits_.max_step_ms - model.step_ms(features_), history));
  }
  std::int64_t bounded = to_tokens(bounded_tokens, cap);
  if (bounded < remaining_tokens) {
    bounded = std::max<std::int64_t>(0, grid_.aligned_down(bounded, num_computed_tokens));
  }
  if (bounded == 0 && !has_prefill_) {
    bounded = grid_.aligned_down(limits_.alignment, num_computed_tokens);
  }
  return std::min(cap, bounded);
}

// The chunk that ends on the alignment, raised to the floor and lowered to the cap; 0 only where
// the step already moves a prompt on.
std::int64_t ChunkSolver::aligned_chunk(std::int64_t num_tokens, std::int64_t num_computed_tokens,
                                        std::int64_t quantum, std::int64_t floor_tokens,
                                        std::int64_t cap) const {
  const std::int64_t alignment = limits_.alignment;
  const std::int64_t aligned = grid_.rounded_down(num_tokens, num_computed_tokens, quantum);
  if (aligned > 0 && aligned >= floor_tokens) {
    return aligned;
  }
  if (has_prefill_) {
    return std::max<std::int64_t>(0, aligned);
  }
  const std::int64_t raised = grid_.aligned_down(
      std::max<std::int64_t>(floor_tokens, 1) + alignment - 1, num_computed_tokens);
  if (raised <= cap) {
    return raised;
  }
  const std::int64_t below_cap = grid_.aligned_down(cap, num_computed_tokens);
  return below_cap > 0 ? below_cap : cap;
}

std::int64_t ChunkSolver::chunk_tokens(std::int64_t remaining_tokens,
                                       std::int64_t num_computed_tokens,
                                       std::int64_t max_tokens) const {
  if (target_ms_ < 0.0) {
    throw InvalidArgument({.field = "target_ms", .value = "none"},
                          "chunk_tokens needs begin_step first");
  }
  check_count("remaining_tokens", remaining_tokens);
  check_count("num_computed_tokens", num_computed_tokens);
  check_count("max_tokens", max_tokens);
  const bool is_fixed = smooth_factor_ == 0.0;
  if (!is_fixed && is_clearly_full(remaining_tokens, num_computed_tokens)) {
    return 0;
  }
  const std::int64_t cap = cap_tokens(remaining_tokens, num_computed_tokens, max_tokens);
  if (cap == 0 || is_fixed) {
    return std::min(cap, base_chunk_tokens_);
  }
  const auto remaining = static_cast<double>(remaining_tokens);
  const auto history = static_cast<double>(num_computed_tokens);
  const auto alignment = static_cast<double>(limits_.alignment);

  const double left_ms = target_ms_ - step_ms();
  const double budget_tokens = model_.tokens_within(left_ms, history);
  double wanted_tokens = budget_tokens;
  bool is_shared = false;
  const double tolerance = std::min(alignment, kToleratedShare * budget_tokens);
  if (budget_tokens + tolerance >= remaining) {
    wanted_tokens = remaining;
  } else if (rest_ == Rest::shared_out) {
    // The steps to come will hold the same decodes, but not the prefills of this one.
    const double capacity_ms = has_prefill_ ? target_ms_ - model_.coefficients().constant : left_ms;
    const double shared = shared_tokens(remaining, history, capacity_ms);
    is_shared = shared < wanted_tokens;
    wanted_tokens = std::min(wanted_tokens, shared);
  } else {
    wanted_tokens *= 1.0 + kRowTolerance;
  }

  // A rest of up to this many tokens is taken whole if otherwise only little of it would be left.
  double whole_tokens = 0.0;
  std::int64_t floor_tokens = 0;
  if (is_empty_) {
    const auto base = static_cast<double>(base_chunk_tokens_);
    wanted_tokens = std::lerp(base, wanted_tokens, smooth_factor_);
    floor_tokens = std::min(cap, std::max<std::int64_t>(limits_.min_chunk_tokens, 1));
    whole_tokens =
        std::max(wanted_tokens + tolerance, kFloorStretch * static_cast<double>(floor_tokens));
  }

  std::int64_t chunk = std::max(floor_tokens, to_tokens(wanted_tokens, cap));
  if (chunk < remaining_tokens) {
    // A share is rounded to the nearest multiple: if all were rounded down, what they leave would
    // add up to one more step.
    const std::int64_t quantum = grid_.quantum_tokens(
        std::min(wanted_tokens, static_cast<double>(cap)), num_computed_tokens);
    const double reach = is_shared ? 0.5 * static_cast<double>(quantum) : 0.0;
    chunk = aligned_chunk(to_tokens(wanted_tokens + reach, cap), num_computed_tokens, quantum,
                          floor_tokens, cap);
  }
  const std::int64_t rest_tokens = remaining_tokens - chunk;
  if (rest_ == Rest::as_it_falls || rest_tokens == 0) {
    return chunk;
  }
  if (remaining_tokens <= cap && remaining <= whole_tokens) {
    return remaining_tokens;
  }
  return shortened(chunk, remaining_tokens, num_computed_tokens, floor_tokens, cap);
}

// The chunk that leaves a last one of half of itself, where the floor allows that.
std::int64_t ChunkSolver::shortened(std::int64_t chunk, std::int64_t remaining_tokens,
                                    std::int64_t num_computed_tokens, std::int64_t floor_tokens,
                                    std::int64_t cap) const {
  const std::int64_t shorter = grid_.aligned_down(
      to_tokens(kTailShare * static_cast<double>(remaining_tokens), cap), num_computed_tokens);
  // Where the chunk is below the floor already, the floor does not stop it from being shortened.
  const bool is_allowed = shorter >= floor_tokens || chunk < limits_.min_chunk_tokens;
  return shorter > 0 && is_allowed ? std::min(chunk, shorter) : chunk;
}

// Whether what is left of a step that moves a prompt on is worth less than half an alignment step,
// so that nothing could round it up to one: all that follows would come to 0. A scheduler asks for
// every prompt that has begun, in every step, and for most of them this is the answer.
bool ChunkSolver::is_clearly_full(std::int64_t remaining_tokens,
                                  std::int64_t num_computed_tokens) const {
  if (!has_prefill_ || remaining_tokens <= limits_.alignment ||
      num_computed_tokens % limits_.alignment != 0) {
    return false;
  }
  const Coefficients& cost = model_.coefficients();
  const auto history = static_cast<double>(num_computed_tokens);
  const double spendable_ms = target_ms_ - step_ms() - cost.context * history;
  return spendable_ms <
         0.5 * static_cast<double>(limits_.alignment) * (cost.cross * history + cost.linear);
}

void ChunkSolver::add_decodes(std::int64_t num_decodes, std::int64_t num_computed_tokens,
                              std::int64_t tokens_each) {
  check_count("num_decodes", num_decodes);
  check_count("num_computed_tokens", num_computed_tokens);
  check_count("tokens_each", tokens_each);
  features_.add_decodes(num_decodes, num_computed_tokens, tokens_each);
  is_empty_ = is_empty_ && num_decodes == 0;
}

void ChunkSolver::add_chunk(const Chunk& chunk) {
  check_chunk(chunk);
  if (chunk.num_tokens == 0) {
    return;
  }
  features_.add(chunk);
  is_empty_ = false;
  has_prefill_ = has_prefill_ || chunk.num_tokens > 1;
}

}  // namespace cpp_chunk
