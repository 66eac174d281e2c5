#include "cpp_chunk/simulator/step_scheduler.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <string>
#include <utility>

#include "cpp_chunk/check.h"
#include "cpp_chunk/error.h"
#include "cpp_chunk/number_text.h"

namespace cpp_chunk {
namespace {

// A simulation keeps something in memory for each request and each token: more than this is taken
// for a mistake.
constexpr std::int64_t kMaxRequests = 10'000'000;
constexpr double kMaxOutputTokens = 1e8;

void check_request(const SimulatedRequest& request, std::size_t index) {
  const std::string prefix = "request " + std::to_string(index) + ": ";
  check_count(prefix + "prompt_tokens", request.prompt_tokens, 1);
  check_count(prefix + "output_tokens", request.output_tokens, 1);
  check_count(prefix + "cached_tokens", request.cached_tokens, 0, request.prompt_tokens);
  check_number(prefix + "arrival_ms", request.arrival_ms);
}

}  // namespace

StepScheduler::StepScheduler(const SimulatedPipeline& pipeline,
                             std::span<const SimulatedRequest> requests, ChunkPolicy& policy,
                             bool records_chunks)
    : pipeline_(pipeline), policy_(policy), records_chunks_(records_chunks) {
  check_count("the number of requests", static_cast<std::int64_t>(requests.size()), 1,
              kMaxRequests);
  progress_.reserve(requests.size());
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const SimulatedRequest& request = requests[i];
    check_request(request, i);
    progress_.push_back(
        {.index = i,
         .arrival_ms = request.arrival_ms,
         .prompt_tokens = request.prompt_tokens,
         // Even of a prompt that the cache holds whole the last token is computed, for the first
         // output.
         .num_computed_tokens = std::min(request.cached_tokens, request.prompt_tokens - 1),
         .outputs_left = request.output_tokens});
    prompt_tokens_ += static_cast<double>(progress_.back().work().num_tokens);
    output_tokens_ += static_cast<double>(request.output_tokens);
  }
  if (output_tokens_ > kMaxOutputTokens) {
    throw InvalidArgument("the output_tokens of all requests", "at most " + shown(kMaxOutputTokens),
                          shown(output_tokens_));
  }
  std::ranges::stable_sort(progress_, {}, &Progress::arrival_ms);
  times_.resize(requests.size());
  inter_token_ms_.reserve(static_cast<std::size_t>(output_tokens_) - requests.size());
  backlog_.reserve(requests.size());
  for (const Progress& progress : progress_) {
    backlog_.push_back(progress.work());
  }
}

void StepScheduler::enter_until(double now_ms) {
  while (next_entry_ms() <= now_ms) {
    const Progress& progress = progress_[num_entered_];
    times_[progress.index].arrival_ms = std::max(progress.arrival_ms, place_free_ms_);
    ++num_entered_;
    backlog_changed_ = true;
  }
}

double StepScheduler::next_entry_ms() const {
  if (num_entered_ == progress_.size() ||
      std::cmp_greater_equal(num_entered_ - num_finished_,
                             pipeline_.max_concurrency.value_or(kMaxRequests))) {
    return std::numeric_limits<double>::infinity();
  }
  return progress_[num_entered_].arrival_ms;
}

bool StepScheduler::has_work() const {
  return ready_begin_ < ready_.size() ||
         (num_admitted_ < num_entered_ &&
          std::cmp_less(num_admitted_ - num_finished_, pipeline_.max_num_seqs));
}

bool StepScheduler::form_step(ScheduledStep& step) {
  step.features = {};
  step.prefills.clear();
  step.token_requests.clear();
  step.chunks.clear();
  tell_backlog();
  policy_.begin_step();
  std::int64_t room_tokens = pipeline_.max_num_batched_tokens;
  schedule_under_way(step, room_tokens);
  schedule_waiting(step, room_tokens);
  if (room_tokens == pipeline_.max_num_batched_tokens) {
    return false;
  }
  step.number = ++num_steps_;
  policy_.step_scheduled(step.number, step.prefills);
  return true;
}

void StepScheduler::tell_backlog() {
  if (!backlog_changed_ && num_steps_ - last_told_step_ < kTellEverySteps) {
    return;
  }
  std::size_t begin = num_admitted_;
  for (std::size_t i = ready_.size(); i > ready_begin_; --i) {
    const Progress& progress = progress_[ready_[i - 1]];
    if (progress.is_prefilling()) {
      --begin;
      backlog_[begin] = progress.work();
    }
  }
  policy_.set_decodes(num_decodes_, decode_context_tokens_, 1);
  const std::size_t num_told = std::min(num_entered_ - begin, kMaxToldPrompts);
  policy_.set_backlog(std::span(backlog_).subspan(begin, num_told),
                      std::min(num_admitted_ - begin, num_told));
  backlog_changed_ = false;
  last_told_step_ = num_steps_;
}

void StepScheduler::schedule_under_way(ScheduledStep& step, std::int64_t& room_tokens) {
  kept_.clear();
  std::size_t next = ready_begin_;
  for (; next < ready_.size() && room_tokens > 0; ++next) {
    const std::uint32_t request = ready_[next];
    const Progress& progress = progress_[request];
    const bool is_prefill = progress.is_prefilling();
    const std::int64_t num_tokens = is_prefill ? asked_tokens(progress, room_tokens) : 1;
    if (num_tokens > 0) {
      add(step, request, num_tokens);
      room_tokens -= num_tokens;
    }
    if (is_prefill && progress.is_prefilling()) {
      kept_.push_back(request);
    }
  }
  ready_begin_ = next - kept_.size();
  std::ranges::copy(kept_, ready_.begin() + static_cast<std::ptrdiff_t>(ready_begin_));
  // What was served is left behind at the front, and dropped once it is the larger part.
  if (2 * ready_begin_ >= ready_.size()) {
    ready_.erase(ready_.begin(), ready_.begin() + static_cast<std::ptrdiff_t>(ready_begin_));
    ready_begin_ = 0;
  }
}

void StepScheduler::schedule_waiting(ScheduledStep& step, std::int64_t& room_tokens) {
  while (room_tokens > 0 && num_admitted_ < num_entered_ &&
         std::cmp_less(num_admitted_ - num_finished_, pipeline_.max_num_seqs)) {
    const auto request = static_cast<std::uint32_t>(num_admitted_);
    const Progress& progress = progress_[request];
    const std::int64_t num_tokens = asked_tokens(progress, room_tokens);
    if (num_tokens == 0) {
      return;
    }
    add(step, request, num_tokens);
    room_tokens -= num_tokens;
    ++num_admitted_;
    if (progress.is_prefilling()) {
      ready_.push_back(request);
    }
  }
}

std::int64_t StepScheduler::asked_tokens(const Progress& progress, std::int64_t room_tokens) {
  const PromptWork work = progress.work();
  const std::int64_t num_tokens = policy_.chunk_tokens(work, room_tokens);
  const std::int64_t most = std::min(work.num_tokens, room_tokens);
  if (num_tokens < 0 || num_tokens > most) {
    throw InvalidArgument(
        {.field = "chunk_tokens", .value = std::to_string(num_tokens)},
        "the policy's chunk_tokens must return a number in [0, " + std::to_string(most) +
            "] for request " + std::to_string(progress.index) + " with " +
            std::to_string(work.num_tokens) + " tokens left and " + std::to_string(room_tokens) +
            " admitted, got " + std::to_string(num_tokens));
  }
  return num_tokens;
}

void StepScheduler::add(ScheduledStep& step, std::uint32_t request, std::int64_t num_tokens) {
  Progress& progress = progress_[request];
  const bool was_prefilling = progress.is_prefilling();
  const Chunk chunk{.num_tokens = num_tokens, .num_computed_tokens = progress.num_computed_tokens};
  policy_.add_chunk(chunk);
  step.features.add(chunk);
  if (records_chunks_) {
    step.chunks.push_back({.request_index = progress.index,
                           .num_tokens = num_tokens,
                           .num_computed_tokens = chunk.num_computed_tokens});
  }
  progress.num_computed_tokens += num_tokens;
  if (was_prefilling) {
    step.prefills.push_back(chunk);
  } else {
    decode_context_tokens_ += num_tokens;
  }
  if (!progress.is_prefilling()) {
    step.token_requests.push_back(request);
    if (was_prefilling) {
      ++num_decodes_;
      decode_context_tokens_ += progress.num_computed_tokens;
      backlog_changed_ = true;
    }
  }
}

void StepScheduler::finish_step(const ScheduledStep& step, double now_ms) {
  // Requests that have arrived since take the places that were free before this step frees others.
  enter_until(now_ms);
  continuing_.clear();
  for (const std::uint32_t request : step.token_requests) {
    Progress& progress = progress_[request];
    if (progress.has_token) {
      inter_token_ms_.push_back(now_ms - progress.last_token_ms);
    } else {
      times_[progress.index].first_token_ms = now_ms;
      progress.has_token = true;
    }
    progress.last_token_ms = now_ms;
    --progress.outputs_left;
    if (progress.outputs_left > 0) {
      continuing_.push_back(request);
    } else {
      times_[progress.index].end_ms = now_ms;
      if (std::cmp_equal(num_entered_ - num_finished_, pipeline_.max_concurrency.value_or(0))) {
        place_free_ms_ = now_ms;
      }
      ++num_finished_;
      --num_decodes_;
      decode_context_tokens_ -= progress.num_computed_tokens;
      backlog_changed_ = true;
    }
  }
  return_to_ready(continuing_);
}

void StepScheduler::return_to_ready(std::span<const std::uint32_t> requests) {
  if (requests.empty()) {
    return;
  }
  const auto ready = std::span(ready_).subspan(ready_begin_);
  if (ready.empty() || ready.back() < requests.front()) {
    ready_.insert(ready_.end(), requests.begin(), requests.end());
    return;
  }
  merged_.clear();
  std::ranges::merge(ready, requests, std::back_inserter(merged_));
  ready_.swap(merged_);
  ready_begin_ = 0;
}

}  // namespace cpp_chunk
