#include "cpp_chunk/planner.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
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
constexpr double kMaterialRaise = 1.0 + 0.5 * kMaterialChange;
// A backlog that grew by less has not been joined: its price has changed a little.
constexpr double kLeastJoined = 0.001;
// No engine has more steps in flight; a caller that never says that they have left must not fill
// the memory.
constexpr std::size_t kMaxInFlight = 2 * kMaxStages;

// What a step costs beyond its work: the constant, and its history read once more.
double step_overhead_ms(const Coefficients& cost, std::span<const PromptWork> prompts) {
  double work_ms = 0.0;
  double history_ms = 0.0;
  for (const PromptWork& prompt : prompts) {
    const double prompt_ms = uncut_work_ms(cost, prompt);
    work_ms += prompt_ms;
    history_ms += prompt_ms * cost.context *
                  (static_cast<double>(prompt.num_computed_tokens) +
                   0.5 * static_cast<double>(prompt.num_tokens));
  }
  return cost.constant + (work_ms > 0.0 ? history_ms / work_ms : 0.0);
}

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
  if (target_ms && !(*target_ms >= 0.0)) {
    throw InvalidArgument("target_ms must be >= 0, got " + shown(*target_ms));
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
  const BacklogFlow flow(stages_, prompts);
  slowest_stage_ = flow.slowest_stage();
  other_rounds_ = flow.other_rounds();
  solver_.set_model(stages_[slowest_stage_]);
}

// What joined is what has been added to the backlog of last time, less what was scheduled since.
void ChunkPlanner::count_joined(double work_ms, bool is_idle) {
  const double left_ms = std::max(0.0, backlog_ms_);
  backlog_ms_ = work_ms;
  if (is_idle) {
    busy_period_.begin(work_ms);
  } else if (work_ms - left_ms > kLeastJoined * work_ms) {
    busy_period_.join(work_ms - left_ms, left_ms + in_flight_ms());
  }
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
  const bool is_idle = num_under_way == 0 && in_flight_ms() <= 0.0;
  const bool may_fall = committed_ms_ <= 0.0;
  count_joined(work_ms, is_idle);
  if (!is_idle && !may_fall &&
      std::abs(work_ms - considered_ms_) <= kMaterialChange * considered_ms_) {
    return;
  }
  considered_ms_ = work_ms;
  const Stages busy_stages = stages_.with_overhead(is_in_step_ ? decodes_ : decodes_before_);
  StepTargets targets = best_step_targets(busy_stages, prompts, settings_.limits);
  if (!is_idle) {
    // Beyond this, steps at the cap would be shorter than those after long histories.
    const double cap_ms =
        std::min(base_target_ms(stages_[slowest_stage_], settings_.limits.max_chunk_tokens),
                 settings_.limits.max_step_ms);
    const double busy_ms = std::min(
        cap_ms,
        busy_period_.best_step_ms(
            step_overhead_ms(busy_stages[slowest_stage_].coefficients(), prompts), other_rounds_));
    if (busy_ms > targets.longest_ms()) {
      targets = StepTargets(busy_ms);
    }
  }
  if (is_idle || may_fall) {
    price_by_slowest(prompts);
    aim(targets, 0, work_ms);
    return;
  }
  if (targets.longest_ms() <= kMaterialRaise * targets_.longest_ms(step_index_)) {
    return;
  }
  // A row begins where it has come to the present step time: the pipeline is full already.
  const std::vector<double>& row = targets.step_ms();
  const auto from =
      std::ranges::find_if(row, [this](double step_ms) { return step_ms >= target_ms(); });
  price_by_slowest(prompts);
  aim(targets, static_cast<std::size_t>(std::distance(row.begin(), from)), work_ms);
}

void ChunkPlanner::aim(const StepTargets& targets, std::size_t step_index, double work_ms) {
  targets_ = targets;
  step_index_ = step_index;
  committed_ms_ = work_ms;
  if (is_in_step_) {
    solver_.set_target(targets_.at(step_index_), targets_.rest());
  }
}

// Prefill work that was scheduled and has not left the last stage.
double ChunkPlanner::in_flight_ms() const {
  return std::accumulate(in_flight_ms_.begin(), in_flight_ms_.end(),
                         is_in_step_ ? prefill_ms_ : 0.0);
}

// Counts the step under way as in flight; nothing where it is counted already, or empty.
void ChunkPlanner::close_step() {
  if (!is_in_step_) {
    return;
  }
  if (solver_.features().token_sum > 0.0) {
    in_flight_ms_.push_back(prefill_ms_);
    backlog_ms_ -= prefill_ms_;
    if (in_flight_ms_.size() > kMaxInFlight) {
      in_flight_ms_.pop_front();
    }
    if (has_prefill_) {
      ++step_index_;
      committed_ms_ -= prefill_ms_;
    }
  }
  decodes_before_ = decodes_;
  is_in_step_ = false;
}

void ChunkPlanner::begin_step() {
  close_step();
  is_in_step_ = true;
  has_prefill_ = false;
  prefill_ms_ = 0.0;
  decodes_ = {};
  solver_.begin_step(targets_.at(step_index_), targets_.rest());
}

void ChunkPlanner::measured(const StepFeatures& /*features*/, double /*latency_ms*/) {
  step_left();
}

void ChunkPlanner::step_left() {
  close_step();
  if (!in_flight_ms_.empty()) {
    in_flight_ms_.pop_front();
  }
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
    prefill_ms_ += uncut_work_ms(
        solver_.model().coefficients(),
        {.num_tokens = chunk.num_tokens, .num_computed_tokens = chunk.num_computed_tokens});
  }
}

}  // namespace cpp_chunk
