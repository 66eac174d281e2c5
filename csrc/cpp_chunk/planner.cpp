#include "cpp_chunk/planner.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "cpp_chunk/backlog_flow.h"
#include "cpp_chunk/check.h"
#include "cpp_chunk/error.h"
#include "cpp_chunk/number_text.h"
#include "cpp_chunk/target.h"

namespace cpp_chunk {

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
    throw InvalidArgument({.field = "stages", .value = std::to_string(stages.size())},
                          "set_stages needs " + std::to_string(stages_.size()) + " stages, got " +
                              std::to_string(stages.size()));
  }
  if (const double given_ms = target_ms.value_or(0.0); !(given_ms >= 0.0)) {
    throw InvalidArgument("target_ms", ">= 0", shown(given_ms));
  }
  stages_ = stages_.with_models({stages.models().begin(), stages.models().end()});
  solver_.set_stages(stages_, slowest_stage_);
  settings_.target_ms = target_ms;
  if (target_ms) {
    targets_ = StepTargets(*target_ms);
    solver_.set_target(*target_ms);
  }
}

// Steps are priced by the model of the stage that takes longest for these prompts.
void ChunkPlanner::price_by_slowest(std::span<const PromptWork> prompts) {
  const BacklogFlow flow(stages_, prompts);
  slowest_stage_ = flow.slowest_stage();
  other_rounds_ = flow.other_rounds();
  solver_.set_stages(stages_, slowest_stage_);
}

void ChunkPlanner::set_decodes(std::int64_t num_decodes, std::int64_t num_computed_tokens,
                               std::int64_t tokens_each) {
  check_count("num_decodes", num_decodes);
  check_count("num_computed_tokens", num_computed_tokens);
  check_count("tokens_each", tokens_each);
  decodes_ = {};
  decodes_.add_decodes(num_decodes, num_computed_tokens, tokens_each);
  // A decode waits for its token: it is in one of the steps in flight.
  decodes_ *= 1.0 / static_cast<double>(stages_.max_in_flight());
}

void ChunkPlanner::tell_busy_period(const BacklogChange& change) {
  if (change.is_idle) {
    busy_period_.begin(change.joined);
  } else if (change.joined.num_tokens > 0) {
    busy_period_.join(change.joined, change.present);
  } else {
    busy_period_.withdraw(change.gone);
  }
}

// Whether neither the work nor the decodes have changed materially since the target was weighed.
bool ChunkPlanner::is_as_considered(const UncutWork& work) const {
  const double considered_ms = ledger_.considered().ms(cost());
  const LatencyModel& model = solver_.model();
  return std::abs(work.ms(cost()) - considered_ms) <= kMaterialChange * considered_ms &&
         std::abs(model.chunks_ms(decodes_) - model.chunks_ms(considered_decodes_)) <=
             kMaterialChange * target_ms();
}

void ChunkPlanner::set_backlog(std::span<const PromptWork> prompts, std::size_t num_under_way) {
  UncutWork work;
  if (!prompts.empty()) {
    check_prompts(prompts);
    for (const PromptWork& prompt : prompts) {
      work += UncutWork::of(prompt.num_tokens, prompt.num_computed_tokens);
    }
  }
  const BacklogChange change = ledger_.take_backlog(work, num_under_way);
  tell_busy_period(change);
  if (settings_.target_ms || prompts.empty()) {
    return;
  }
  const bool may_fall = ledger_.may_fall();
  if (!may_fall && is_as_considered(work)) {
    return;
  }
  ledger_.consider();
  considered_decodes_ = decodes_;
  const StepTargets targets = best_targets(prompts, change.is_idle);
  if (may_fall) {
    price_by_slowest(prompts);
    aim(targets, 0);
    return;
  }
  if (targets.longest_ms() <= targets_.longest_ms(step_index_)) {
    return;
  }
  // The pipeline is full already, so a row of rising times is joined where it reaches the present
  // one.
  const std::vector<double>& row = targets.step_ms();
  const auto from =
      std::ranges::find_if(row, [this](double step_ms) { return step_ms >= target_ms(); });
  price_by_slowest(prompts);
  aim(targets, static_cast<std::size_t>(std::distance(row.begin(), from)));
}

// Those of the backlog alone, or longer ones where the prompts of a busy period joined late.
StepTargets ChunkPlanner::best_targets(std::span<const PromptWork> prompts, bool is_idle) const {
  const Stages busy_stages = stages_.with_overhead(decodes_);
  StepTargets targets = best_step_targets(busy_stages, prompts, settings_.limits);
  if (is_idle) {
    return targets;
  }
  // Longer steps than this exist only behind long histories: at the front of a prompt the cap on
  // tokens ends them earlier.
  const double cap_ms =
      std::min(base_target_ms(stages_[slowest_stage_], settings_.limits.max_chunk_tokens),
               settings_.limits.max_step_ms);
  const double busy_ms = std::min(
      cap_ms, busy_period_.best_step_ms(cost(), busy_stages[slowest_stage_].coefficients().constant,
                                        other_rounds_));
  return busy_ms > targets.longest_ms() ? StepTargets(busy_ms) : targets;
}

void ChunkPlanner::aim(const StepTargets& targets, std::size_t step_index) {
  targets_ = targets;
  step_index_ = step_index;
  ledger_.commit();
  // For the step under way, if there is one; any other gets its target from begin_step.
  solver_.set_target(targets_.at(step_index_), targets_.rest());
}

void ChunkPlanner::begin_step() {
  decodes_ms_ = 0.0;
  solver_.begin_step(targets_.at(step_index_), targets_.rest());
}

void ChunkPlanner::step_scheduled(std::int64_t step, std::span<const Chunk> prefills) {
  UncutWork work;
  for (const Chunk& chunk : prefills) {
    check_chunk(chunk);
    work += UncutWork::of(chunk.num_tokens, chunk.num_computed_tokens);
  }
  if (work.num_tokens == 0) {
    return;
  }
  ledger_.step_scheduled(step, work);
  ++step_index_;
}

void ChunkPlanner::step_left(std::int64_t step) { ledger_.step_left(step); }

std::int64_t ChunkPlanner::chunk_tokens(const PromptWork& prompt, std::int64_t max_tokens) {
  return solver_.chunk_tokens(prompt.num_tokens, prompt.num_computed_tokens, max_tokens);
}

std::int64_t ChunkPlanner::shared_chunk_tokens(const PromptWork& prompt, std::int64_t max_tokens,
                                               double share) {
  if (!(share > 0.0 && share <= 1.0)) {
    throw InvalidArgument("share", "in (0, 1]", shown(share));
  }
  const double shared_ms = share * (target_ms() - cost().constant - decodes_ms_);
  const double most_tokens =
      solver_.model().tokens_within(shared_ms, static_cast<double>(prompt.num_computed_tokens));
  const std::int64_t alignment = settings_.limits.alignment;
  if (most_tokens < static_cast<double>(max_tokens)) {
    const std::int64_t most = static_cast<std::int64_t>(most_tokens) / alignment * alignment;
    max_tokens = std::min(max_tokens, std::max(most, alignment));
  }
  return chunk_tokens(prompt, max_tokens);
}

void ChunkPlanner::add_decodes(std::int64_t num_decodes, std::int64_t num_computed_tokens,
                               std::int64_t tokens_each) {
  const double before_ms = solver_.step_ms();
  solver_.add_decodes(num_decodes, num_computed_tokens, tokens_each);
  decodes_ms_ += solver_.step_ms() - before_ms;
}

void ChunkPlanner::add_chunk(const Chunk& chunk) { solver_.add_chunk(chunk); }

}  // namespace cpp_chunk
