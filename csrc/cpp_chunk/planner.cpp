#include "cpp_chunk/planner.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "cpp_chunk/backlog_flow.h"
#include "cpp_chunk/error.h"
#include "cpp_chunk/target.h"

namespace cpp_chunk {
namespace {

// A backlog of this much more or less work has not changed materially: its best target moves by
// half of that, and the makespan by far less.
constexpr double kMaterialChange = 0.05;

}  // namespace

ChunkPlanner::ChunkPlanner(const Stages& stages, const PlannerSettings& settings)
    : stages_(stages),
      settings_(settings),
      solver_(stages[0], settings.limits, settings.smooth_factor),
      targets_(0.0) {
  // Until the first prompt joins: what one of the largest chunk would get.
  const std::array first{PromptWork{.num_tokens = settings.limits.max_chunk_tokens}};
  price_by_slowest(first);
  targets_ = settings.target_ms ? StepTargets(*settings.target_ms)
                                : best_step_targets(stages, first, settings.limits);
  solver_.set_target(targets_.at(0));
}

void ChunkPlanner::set_stages(const Stages& stages, std::optional<double> target_ms) {
  if (stages.size() != stages_.size()) {
    throw InvalidArgument("set_stages needs " + std::to_string(stages_.size()) + " stages, got " +
                          std::to_string(stages.size()));
  }
  stages_ = stages;
  solver_.set_model(stages_[slowest_stage_]);
  settings_.target_ms = target_ms;
  if (target_ms) {
    targets_ = StepTargets(*target_ms);
    step_index_ = 0;
  }
}

// Steps are priced by the model of the stage that takes longest for these prompts.
void ChunkPlanner::price_by_slowest(std::span<const PromptWork> prompts) {
  slowest_stage_ = slowest_stage(stages_, prompts);
  solver_.set_model(stages_[slowest_stage_]);
}

void ChunkPlanner::set_backlog(std::span<const PromptWork> prompts, std::size_t num_under_way) {
  if (settings_.target_ms || prompts.empty()) {
    return;
  }
  check_prompts(prompts);
  double work_ms = 0.0;
  for (const PromptWork& prompt : prompts) {
    work_ms += uncut_work_ms(stages_[slowest_stage_].coefficients(), prompt);
  }
  const bool is_idle = num_under_way == 0;
  const bool is_done = committed_ms_ <= 0.0;
  if (!is_idle && !is_done &&
      std::abs(work_ms - considered_ms_) <= kMaterialChange * considered_ms_) {
    return;
  }
  considered_ms_ = work_ms;
  const StepTargets targets = best_step_targets(
      stages_.with_overhead(is_in_step_ ? decodes_ : decodes_before_), prompts, settings_.limits);
  if (is_idle || is_done) {
    price_by_slowest(prompts);
    aim(targets, 0, work_ms);
    return;
  }
  // A row begins where it has come to the present step time: the pipeline is full already.
  const std::vector<double>& row = targets.step_ms();
  const auto from =
      std::ranges::find_if(row, [this](double step_ms) { return step_ms > target_ms(); });
  if (from != row.end()) {
    price_by_slowest(prompts);
    aim(targets, static_cast<std::size_t>(std::distance(row.begin(), from)), work_ms);
  }
}

void ChunkPlanner::aim(const StepTargets& targets, std::size_t step_index, double work_ms) {
  targets_ = targets;
  step_index_ = step_index;
  committed_ms_ = work_ms;
  if (is_in_step_) {
    solver_.set_target(targets_.at(step_index_), targets_.rest());
  }
}

void ChunkPlanner::begin_step() {
  if (is_in_step_ && has_prefill_) {
    ++step_index_;
    committed_ms_ -= solver_.model().chunks_ms(solver_.features());
  }
  if (is_in_step_) {
    decodes_before_ = decodes_;
  }
  is_in_step_ = true;
  has_prefill_ = false;
  decodes_ = {};
  solver_.begin_step(targets_.at(step_index_), targets_.rest());
}

std::int64_t ChunkPlanner::chunk_tokens(const PromptWork& prompt, std::int64_t max_tokens) {
  return solver_.chunk_tokens(prompt.num_tokens, prompt.num_computed_tokens, max_tokens);
}

void ChunkPlanner::add_decodes(std::int64_t num_decodes, std::int64_t num_computed_tokens) {
  solver_.add_decodes(num_decodes, num_computed_tokens);
  decodes_.add_decodes(num_decodes, num_computed_tokens);
}

void ChunkPlanner::add_chunk(const Chunk& chunk) {
  solver_.add_chunk(chunk);
  if (chunk.num_tokens == 1) {
    decodes_.add(chunk);
  } else {
    has_prefill_ = has_prefill_ || chunk.num_tokens > 1;
  }
}

}  // namespace cpp_chunk
