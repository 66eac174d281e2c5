#include "cpp_chunk/makespan_bound.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <queue>
#include <vector>

#include "cpp_chunk/backlog_flow.h"

// What holds of every plan, for S equal stages and steps of times t_i, the longest of them T:
//
// 1. makespan >= sum(t) + (S-1)*T: the steps up to the longest one on the first stage, that one
//    through all stages, the others on the last stage.
// 2. A prompt's chunks x_i after h_i (n tokens after h in all) cost cross*(n*h + n^2/2) + linear*n,
//    and besides (quadratic-cross)*sum(x_i^2)/2 + context*sum(h_i), since sum(x_i*h_i) +
//    sum(x_i^2)/2 is n*h + n^2/2 for every cut.
// 3. No chunk that holds the prompt's token y has more than X(y) tokens, where X behind y - X takes
//    T: it begins at y - X at the earliest, and what begins later can only be smaller. X falls with
//    y.
// 4. Given to each token of its chunk alike, sum(x_i^2) is the sum of x_i over all tokens, hence
//    <= sum(X(y)). And sum(h_i) is the sum of h_i/x_i, hence >= sum(max(h, y - X)/X).
// 5. With at most one chunk in each of N steps, sum(x_i^2) >= n^2/N.
// 6. With W what of this does not depend on N, and A/N what does:
//    sum(t) >= W + A/N + c*N, and N >= sum(t)/T.
//
// W falls with T, so between two values of T the makespan is at least sum(t) by the longer one and
// (S-1)*T by the shorter one. Whatever T a plan has, it is in some interval.

namespace cpp_chunk {
namespace {

// Intervals of T - c are halved until the lowest one is so narrow.
constexpr double kNarrow = 1.00005;
// Halvings of the longest T - c that the first intervals reach down to.
constexpr int kFirstIntervals = 40;
constexpr double kRounding = 1e-9;
// Parts in which all prompts together are looked at: within one, X is that of its first token.
constexpr std::size_t kParts = 128;
// Rounds that bring X(y) down from X(h): each holds.
constexpr int kRounds = 4;

class EqualStagesBound {
 public:
  EqualStagesBound(const LatencyModel& model, double num_stages,
                   std::span<const PromptWork> prompts)
      : model_(model),
        cost_(model.coefficients()),
        others_(num_stages - 1.0),
        prompts_(prompts),
        parts_(std::max<std::size_t>(1, kParts / prompts.size())) {
    for (const PromptWork& prompt : prompts) {
      const auto num_tokens = static_cast<double>(prompt.num_tokens);
      uncut_ms_ += uncut_work_ms(cost_, prompt);
      squares_ms_ += 0.5 * std::max(0.0, cost_.quadratic - cost_.cross) * num_tokens * num_tokens;
      StepFeatures whole;
      whole.add(
          {.num_tokens = prompt.num_tokens, .num_computed_tokens = prompt.num_computed_tokens});
      longest_ms_ += model.chunks_ms(whole);
    }
  }

  [[nodiscard]] double makespan_ms() const {
    if (!(longest_ms_ > 0.0 && std::isfinite(longest_ms_))) {
      return (others_ + 1.0) * cost_.constant;
    }
    std::priority_queue<Interval> open;
    // Longer than a step that holds all.
    double lowest_ms = between(longest_ms_, std::numeric_limits<double>::infinity());
    double longest_ms = longest_ms_;
    for (int i = 0; i < kFirstIntervals; ++i) {
      open.push(interval(0.5 * longest_ms, longest_ms));
      longest_ms *= 0.5;
    }
    lowest_ms = std::min(lowest_ms, between(0.0, longest_ms));
    while (open.top().makespan_ms < lowest_ms) {
      const Interval widest = open.top();
      if (widest.longest_ms <= kNarrow * widest.shortest_ms) {
        lowest_ms = widest.makespan_ms;
        break;
      }
      open.pop();
      const double middle_ms = std::sqrt(widest.shortest_ms * widest.longest_ms);
      open.push(interval(widest.shortest_ms, middle_ms));
      open.push(interval(middle_ms, widest.longest_ms));
    }
    return lowest_ms;
  }

 private:
  // Of the longest step's time, without the constant.
  struct Interval {
    double shortest_ms;
    double longest_ms;
    double makespan_ms;

    bool operator<(const Interval& other) const { return makespan_ms > other.makespan_ms; }
  };

  [[nodiscard]] Interval interval(double shortest_ms, double longest_ms) const {
    return {.shortest_ms = shortest_ms,
            .longest_ms = longest_ms,
            .makespan_ms = between(shortest_ms, longest_ms)};
  }

  [[nodiscard]] double between(double shortest_ms, double longest_ms) const {
    return sum_ms(longest_ms) + others_ * (cost_.constant + shortest_ms);
  }

  // Least sum of steps none of which takes longer than this beyond the constant.
  [[nodiscard]] double sum_ms(double longest_ms) const {
    double work_ms = uncut_ms_;
    for (const PromptWork& prompt : prompts_) {
      if (prompt.num_tokens == 0) {
        continue;
      }
      const auto num_tokens = static_cast<double>(prompt.num_tokens);
      const auto history = static_cast<double>(prompt.num_computed_tokens);
      double most_tokens = std::min(num_tokens, model_.tokens_within(longest_ms, history));
      if (!(most_tokens > 0.0)) {
        return std::numeric_limits<double>::infinity();
      }
      const double part_tokens = num_tokens / static_cast<double>(parts_);
      for (std::size_t part = 0; part < parts_; ++part) {
        const double first = history + static_cast<double>(part) * part_tokens;
        for (int round = 0; round < kRounds; ++round) {
          most_tokens =
              std::min(most_tokens,
                       model_.tokens_within(longest_ms, std::max(history, first - most_tokens)));
        }
        if (!(most_tokens > 0.0)) {
          return std::numeric_limits<double>::infinity();
        }
        const double before = std::max(history, first + 0.5 * part_tokens - most_tokens);
        work_ms += part_tokens * (0.5 * std::min(0.0, cost_.quadratic - cost_.cross) * most_tokens +
                                  cost_.context * before / most_tokens);
      }
    }
    work_ms = std::max(0.0, work_ms);
    // The least of A/N + c*N over N >= 1, and whether N >= sum/T asks for more steps than that.
    double best_steps = 1.0;
    if (squares_ms_ > 0.0) {
      // Infinite where a step costs nothing.
      best_steps = std::sqrt(squares_ms_ / cost_.constant);
    }
    const double cut_ms = best_steps > 1.0 ? 2.0 * std::sqrt(squares_ms_ * cost_.constant)
                                           : squares_ms_ + cost_.constant;
    const double step_ms = cost_.constant + longest_ms;
    if (work_ms + cut_ms <= std::max(1.0, best_steps) * step_ms) {
      return work_ms + cut_ms;
    }
    // sum = W + A*T/sum + c*sum/T
    const double share = longest_ms / step_ms;
    return (work_ms + std::sqrt(work_ms * work_ms + 4.0 * share * squares_ms_ * step_ms)) /
           (2.0 * share);
  }

  const LatencyModel& model_;
  const Coefficients& cost_;
  double others_;
  std::span<const PromptWork> prompts_;
  std::size_t parts_;
  double uncut_ms_ = 0.0;    // what no cut changes
  double squares_ms_ = 0.0;  // A
  double longest_ms_ = 0.0;  // a step that holds all, without the constant
};

// A model that is nowhere dearer than any stage's.
LatencyModel cheapest(const Stages& stages) {
  Coefficients least = stages[0].coefficients();
  for (const LatencyModel& model : stages.models()) {
    const Coefficients& cost = model.coefficients();
    least.quadratic = std::min(least.quadratic, cost.quadratic);
    least.cross = std::min(least.cross, cost.cross);
    least.linear = std::min(least.linear, cost.linear);
    least.context = std::min(least.context, cost.context);
    least.constant = std::min(least.constant, cost.constant);
  }
  return LatencyModel(least);
}

}  // namespace

// Of unequal stages two bounds hold: that of as many stages like the cheapest one, and what each
// stage does by itself with one step's constant on all others.
double makespan_bound_ms(const Stages& stages, std::span<const PromptWork> prompts) {
  check_prompts(prompts);
  const LatencyModel least = cheapest(stages);
  double bound_ms =
      EqualStagesBound(least, static_cast<double>(stages.size()), prompts).makespan_ms();
  if (!stages.are_equal()) {
    double constants_ms = 0.0;
    for (const LatencyModel& model : stages.models()) {
      constants_ms += model.coefficients().constant;
    }
    for (const LatencyModel& model : stages.models()) {
      const double alone_ms = EqualStagesBound(model, 1.0, prompts).makespan_ms();
      bound_ms = std::max(bound_ms, alone_ms + constants_ms - model.coefficients().constant);
    }
  }
  return (1.0 - kRounding) * bound_ms;
}

}  // namespace cpp_chunk
