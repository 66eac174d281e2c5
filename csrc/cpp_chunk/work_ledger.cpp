#include "cpp_chunk/work_ledger.h"

namespace cpp_chunk {

BacklogChange WorkLedger::take_backlog(const UncutWork& work, std::size_t num_under_way) {
  const UncutWork left = backlog_;
  backlog_ = work;
  is_idle_ = num_under_way == 0 && inside_.empty();
  BacklogChange change;
  change.is_idle = is_idle_;
  if (is_idle_) {
    change.joined = work;
  } else if (work.num_tokens > left.num_tokens) {
    change.joined = work - left;
    change.present = left + in_flight();
  } else if (work.num_tokens < left.num_tokens) {
    change.gone = left - work;
    gone_tokens_ += change.gone.num_tokens;
  }
  return change;
}

void WorkLedger::step_scheduled(std::int64_t step, const UncutWork& work) {
  inside_.push_back({.step = step, .work = work});
  backlog_ -= work;
  committed_tokens_ -= work.num_tokens;
}

void WorkLedger::step_left(std::int64_t step) {
  std::erase_if(inside_, [step](const StepInside& inside) { return inside.step <= step; });
}

void WorkLedger::commit() {
  committed_tokens_ = backlog_.num_tokens;
  gone_tokens_ = 0;
}

bool WorkLedger::may_fall() const {
  return is_idle_ || committed_tokens_ <= 0 ||
         static_cast<double>(gone_tokens_) >
             kMaterialChange * static_cast<double>(considered_.num_tokens);
}

UncutWork WorkLedger::in_flight() const {
  UncutWork work;
  for (const StepInside& inside : inside_) {
    work += inside.work;
  }
  return work;
}

}  // namespace cpp_chunk
