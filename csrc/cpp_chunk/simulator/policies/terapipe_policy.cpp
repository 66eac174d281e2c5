#include "cpp_chunk/simulator/policies/terapipe_policy.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <string>
#include <utility>

#include "cpp_chunk/error.h"
#include "cpp_chunk/plan.h"
#include "cpp_chunk/simulator/terapipe.h"

namespace cpp_chunk {
namespace {

// Of chunks in plans, and of places that prompts have been at: 100 MB. A plan costs a millisecond
// or more, so that whoever comes here has waited for minutes.
constexpr std::size_t kMaxKept = 1'000'000;

void check_kept(std::size_t num_kept) {
  if (num_kept > kMaxKept) {
    throw InvalidArgument(
        {.field = "prompts", .value = std::to_string(num_kept) + " chunks"},
        "the plans of all prompts may have " + std::to_string(kMaxKept) +
            " chunks: give prompts of fewer lengths, or a coarser granule_tokens");
  }
}

}  // namespace

TerapipePolicy::TerapipePolicy(const Stages& stages, std::int64_t max_chunk_tokens,
                               std::int64_t granule_tokens)
    : stages_(stages), max_chunk_tokens_(max_chunk_tokens), granule_tokens_(granule_tokens) {
  // The smallest plan refuses what any plan would.
  (void)terapipe_plan(stages_, 1, max_chunk_tokens_, granule_tokens_);
}

void TerapipePolicy::set_backlog(std::span<const PromptWork> /*prompts*/,
                                 std::size_t /*num_under_way*/) {}

void TerapipePolicy::begin_step() { has_prefill_ = false; }

std::size_t TerapipePolicy::plan_at(const Place& place) {
  const auto found = plan_of_.find(place);
  if (found != plan_of_.end()) {
    return found->second;
  }
  const auto& [prompt_end, begin] = place;
  const Plan plan = terapipe_plan(stages_, prompt_end, max_chunk_tokens_, granule_tokens_, begin);
  num_planned_chunks_ += plan.chunks.size();
  check_kept(num_planned_chunks_);
  ChunkEnds ends(plan.chunks.size());
  std::inclusive_scan(plan.chunks.begin(), plan.chunks.end(), ends.begin(), std::plus<>(), begin);
  plans_.push_back(std::move(ends));
  plan_of_.emplace(place, plans_.size() - 1);
  return plans_.size() - 1;
}

std::int64_t TerapipePolicy::chunk_tokens(const PromptWork& prompt, std::int64_t max_tokens) {
  is_asked_ = false;
  if (prompt.num_tokens <= 0 || max_tokens <= 0) {
    return 0;
  }
  const std::int64_t begin = prompt.num_computed_tokens;
  asked_ = {begin + prompt.num_tokens, begin};
  asked_plan_ = plan_at(asked_);
  const ChunkEnds& ends = plans_[asked_plan_];
  auto end = std::ranges::upper_bound(ends, begin);
  if (end != ends.begin() && end + 1 != ends.end() && 2 * (*end - begin) < *end - *(end - 1)) {
    ++end;
  }
  const std::int64_t num_tokens = std::min(*end - begin, max_chunk_tokens_);
  if (num_tokens > max_tokens && has_prefill_) {
    return 0;
  }
  is_asked_ = true;
  return std::min(num_tokens, max_tokens);
}

void TerapipePolicy::add_chunk(const Chunk& chunk) {
  if (!is_asked_) {
    return;
  }
  is_asked_ = false;
  has_prefill_ = true;
  const auto& [prompt_end, begin] = asked_;
  check_kept(plan_of_.size() + 1);
  plan_of_.try_emplace({prompt_end, begin + chunk.num_tokens}, asked_plan_);
}

}  // namespace cpp_chunk
