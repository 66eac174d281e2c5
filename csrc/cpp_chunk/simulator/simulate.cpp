#include "cpp_chunk/simulator/simulate.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "cpp_chunk/error.h"
#include "cpp_chunk/simulator/stage_timeline.h"
#include "cpp_chunk/simulator/step_scheduler.h"

namespace cpp_chunk {
namespace {

constexpr std::int64_t kMaxSteps = 100'000'000;
// On four stages 1.4 million steps of three requests: 2.2 GB of JSON as a trace, more than a
// browser opens.
constexpr std::size_t kMaxRecordedBytes = std::size_t{256} << 20U;
constexpr double kMsPerS = 1000.0;

// Steps between the scheduler and the end of the last stage: a ring, so that they keep their
// memory.
class StepsInFlight {
 public:
  struct Entry {
    ScheduledStep step;
    StepTimes times;
  };

  explicit StepsInFlight(std::int64_t limit) : limit_(static_cast<std::size_t>(limit)) {}

  [[nodiscard]] bool is_full() const noexcept { return size_ == limit_; }
  [[nodiscard]] bool is_empty() const noexcept { return size_ == 0; }
  [[nodiscard]] const Entry& front() const { return ring_[begin_]; }

  // The entry behind the last one; it counts once it is pushed.
  [[nodiscard]] Entry& next() {
    if (ring_.size() < limit_ && size_ == ring_.size()) {
      std::ranges::rotate(ring_, ring_.begin() + static_cast<std::ptrdiff_t>(begin_));
      begin_ = 0;
      ring_.emplace_back();
    }
    return ring_[(begin_ + size_) % ring_.size()];
  }
  void push() noexcept { ++size_; }
  void pop() noexcept {
    begin_ = begin_ + 1 == ring_.size() ? 0 : begin_ + 1;
    --size_;
  }

 private:
  std::size_t limit_;
  std::vector<Entry> ring_;  // grows to what is in flight at once
  std::size_t begin_ = 0;
  std::size_t size_ = 0;
};

class Simulation {
 public:
  Simulation(const SimulatedPipeline& pipeline, std::span<const SimulatedRequest> requests,
             ChunkPolicy& policy, bool record_steps, const std::function<void()>& before_step)
      : policy_(policy),
        before_step_(before_step),
        record_steps_(record_steps),
        num_stages_(pipeline.stages.size()),
        scheduler_(pipeline, requests, policy, record_steps),
        timeline_(pipeline),
        in_flight_(pipeline.in_flight_limit()) {}

  SimulationResult run() {
    while (!scheduler_.is_done()) {
      scheduler_.enter_until(now_ms_);
      if (!in_flight_.is_full() && start_step()) {
        continue;
      }
      advance();
    }
    return summary();
  }

 private:
  // Whether a step went off.
  bool start_step() {
    if (!scheduler_.has_work()) {
      return false;
    }
    if (before_step_) {
      before_step_();
    }
    StepsInFlight::Entry& entry = in_flight_.next();
    if (!scheduler_.form_step(entry.step)) {
      if (in_flight_.is_empty()) {
        throw InvalidArgument(
            {.field = "policy", .value = "no tokens"},
            "the policy gave no tokens to any request while nothing was in flight: it would wait "
            "for ever");
      }
      return false;
    }
    if (result_.num_steps == kMaxSteps) {
      throw InvalidArgument({.field = "requests", .value = std::to_string(kMaxSteps) + " steps"},
                            "the workload takes more than " + std::to_string(kMaxSteps) +
                                " steps: give fewer requests, or larger chunks");
    }
    ++result_.num_steps;
    std::span<StageSpan> spans_ms;
    if (record_steps_) {
      spans_ms = record(entry.step);
    }
    entry.times = timeline_.run(entry.step.features, now_ms_, spans_ms);
    in_flight_.push();
    return true;
  }

  // Returns where the step's times go.
  std::span<StageSpan> record(const ScheduledStep& step) {
    recorded_bytes_ += sizeof(SimulatedStep) + num_stages_ * sizeof(StageSpan) +
                       step.chunks.size() * sizeof(StepChunk);
    if (recorded_bytes_ > kMaxRecordedBytes) {
      throw InvalidArgument(
          {.field = "record_steps", .value = "true"},
          "the recorded steps take more than " + std::to_string(kMaxRecordedBytes >> 20U) +
              " MiB of memory: give fewer requests or larger chunks, or record none");
    }
    result_.steps.push_back(
        {.stage_spans_ms = std::vector<StageSpan>(num_stages_), .chunks = step.chunks});
    return result_.steps.back().stage_spans_ms;
  }

  // To the next event: a step leaves, or a request enters that could be served at once.
  void advance() {
    const double leave_ms = in_flight_.is_empty() ? std::numeric_limits<double>::infinity()
                                                  : in_flight_.front().times.leave_ms;
    const double entry_ms = scheduler_.next_entry_ms();
    if (entry_ms < leave_ms && !in_flight_.is_full()) {
      now_ms_ = entry_ms;
      return;
    }
    now_ms_ = leave_ms;
    const StepsInFlight::Entry& left = in_flight_.front();
    scheduler_.finish_step(left.step, now_ms_);
    policy_.step_left(left.step.number);
    policy_.measured(left.step.features, left.times.slowest_ms);
    in_flight_.pop();
  }

  SimulationResult summary() {
    result_.requests = std::move(scheduler_.times());
    const double first_ms =
        std::ranges::min_element(result_.requests, {}, &RequestTimes::arrival_ms)->arrival_ms;
    const double last_ms =
        std::ranges::max_element(result_.requests, {}, &RequestTimes::end_ms)->end_ms;
    result_.makespan_ms = last_ms - first_ms;
    std::vector<double> ttft_ms;
    ttft_ms.reserve(result_.requests.size());
    for (const RequestTimes& times : result_.requests) {
      ttft_ms.push_back(times.first_token_ms - times.arrival_ms);
    }
    result_.ttft_ms = Distribution::of(ttft_ms);
    result_.inter_token_ms = Distribution::of(scheduler_.inter_token_ms());
    if (result_.makespan_ms > 0.0) {
      result_.prompt_tokens_per_s = kMsPerS * scheduler_.prompt_tokens() / result_.makespan_ms;
      result_.output_tokens_per_s = kMsPerS * scheduler_.output_tokens() / result_.makespan_ms;
    }
    result_.bubble_share = timeline_.bubble_share();
    return std::move(result_);
  }

  ChunkPolicy& policy_;
  const std::function<void()>& before_step_;
  bool record_steps_;
  std::size_t num_stages_;
  StepScheduler scheduler_;
  StageTimeline timeline_;
  StepsInFlight in_flight_;
  double now_ms_ = 0.0;
  std::size_t recorded_bytes_ = 0;
  SimulationResult result_;
};

}  // namespace

SimulationResult simulate(const SimulatedPipeline& pipeline,
                          std::span<const SimulatedRequest> requests, ChunkPolicy& policy,
                          bool record_steps, const std::function<void()>& before_step) {
  pipeline.check();
  return Simulation(pipeline, requests, policy, record_steps, before_step).run();
}

}  // namespace cpp_chunk
