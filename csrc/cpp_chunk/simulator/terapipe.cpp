#include "cpp_chunk/simulator/terapipe.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <queue>
#include <string>
#include <utility>
#include <vector>

#include "cpp_chunk/check.h"
#include "cpp_chunk/error.h"
#include "cpp_chunk/number_text.h"

namespace cpp_chunk {
namespace {

constexpr double kMaxPairs = 16'777'216.0;
// Plans that differ by less are the same: it bounds the search.
constexpr double kRelativeExactness = 1e-9;

// The cheapest way to cut a prompt when no step may be longer than a limit.
struct Cut {
  std::vector<std::int64_t> chunks;
  double sum_ms = std::numeric_limits<double>::infinity();
  double max_ms = 0.0;  // of the longest step

  [[nodiscard]] double makespan_ms(double extra_stages) const {
    return sum_ms + extra_stages * max_ms;
  }
};

// Shortest paths from the prompt's first cut to its last, forward over the cuts.
class CutSearch {
 public:
  CutSearch(const LatencyModel& model, const PromptWork& prompt, std::int64_t max_chunk_tokens,
            std::int64_t granule_tokens)
      : model_(model),
        prompt_(prompt),
        granule_tokens_(granule_tokens),
        // As many cuts after the first one; the last granule may be a part of one.
        num_cuts_(static_cast<std::size_t>(rounded_up_quotient(prompt.num_tokens))),
        most_granules_(
            std::min(num_cuts_, static_cast<std::size_t>(max_chunk_tokens / granule_tokens))),
        // A last chunk of the cap's length, where the cap is no multiple of the granule.
        max_chunk_tokens_(max_chunk_tokens) {
    if (static_cast<double>(num_cuts_) * static_cast<double>(most_granules_) > kMaxPairs) {
      throw InvalidArgument({.field = "granule_tokens", .value = std::to_string(granule_tokens)},
                            "granule_tokens is too fine for " + std::to_string(prompt.num_tokens) +
                                " tokens in chunks of up to " + std::to_string(max_chunk_tokens) +
                                ", got " + std::to_string(granule_tokens) + ": at most " +
                                shown(kMaxPairs) + " pairs of a cut and a chunk's length");
    }
    least_ms_.resize(num_cuts_ + 1);
  }

  // The least sum of steps of at most limit_ms; chunks stay empty where there is none.
  [[nodiscard]] Cut cheapest(double limit_ms) {
    std::ranges::fill(least_ms_, std::numeric_limits<double>::infinity());
    least_ms_[0] = 0.0;
    for (std::size_t begin = 0; begin < num_cuts_; ++begin) {
      if (std::isfinite(least_ms_[begin])) {
        relax_from(begin, limit_ms);
      }
    }
    return traced_back(limit_ms);
  }

  [[nodiscard]] double step_ms(std::size_t begin, std::size_t end) const {
    StepFeatures features;
    features.add({.num_tokens = position(end) - position(begin),
                  .num_computed_tokens = prompt_.num_computed_tokens + position(begin)});
    return model_.step_ms(features);
  }

 private:
  [[nodiscard]] std::int64_t rounded_up_quotient(std::int64_t num_tokens) const {
    return (num_tokens + granule_tokens_ - 1) / granule_tokens_;
  }

  [[nodiscard]] std::int64_t position(std::size_t cut) const {
    return std::min(prompt_.num_tokens, static_cast<std::int64_t>(cut) * granule_tokens_);
  }

  // Whether a step may span the cuts.
  [[nodiscard]] bool fits(std::size_t begin, std::size_t end) const {
    return position(end) - position(begin) <= max_chunk_tokens_;
  }

  void relax_from(std::size_t begin, double limit_ms) {
    // All but the last cut are whole granules: the step's time is a parabola in their number.
    const Coefficients& cost = model_.coefficients();
    const auto history = static_cast<double>(prompt_.num_computed_tokens + position(begin));
    const auto granule = static_cast<double>(granule_tokens_);
    const double square_ms = 0.5 * cost.quadratic * granule * granule;
    const double linear_ms = (cost.cross * history + cost.linear) * granule;
    const double fixed_ms = cost.context * history + cost.constant;
    const std::size_t last_inner = std::min(begin + most_granules_, num_cuts_ - 1);
    const double from_ms = least_ms_[begin];
    double* const to_ms = least_ms_.data() + begin;
    // Times grow with the chunk, so those within the limit come first.
    const std::size_t num_within =
        granules_within(limit_ms, square_ms, linear_ms, fixed_ms, last_inner - begin);
    for (std::size_t granules = 1; granules <= num_within; ++granules) {
      const auto length = static_cast<double>(granules);
      const double total_ms = from_ms + ((square_ms * length + linear_ms) * length + fixed_ms);
      to_ms[granules] = total_ms < to_ms[granules] ? total_ms : to_ms[granules];
    }
    if (fits(begin, num_cuts_)) {
      const double last_ms = step_ms(begin, num_cuts_);
      if (last_ms <= limit_ms) {
        least_ms_[num_cuts_] = std::min(least_ms_[num_cuts_], from_ms + last_ms);
      }
    }
  }

  [[nodiscard]] static std::size_t granules_within(double limit_ms, double square_ms,
                                                   double linear_ms, double fixed_ms,
                                                   std::size_t most) {
    const auto within = [&](std::size_t granules) {
      const auto length = static_cast<double>(granules);
      return (square_ms * length + linear_ms) * length + fixed_ms <= limit_ms;
    };
    std::size_t least = 0;
    while (least < most) {
      const std::size_t middle = least + (most - least + 1) / 2;
      if (within(middle)) {
        least = middle;
      } else {
        most = middle - 1;
      }
    }
    return least;
  }

  [[nodiscard]] Cut traced_back(double limit_ms) const {
    Cut cut;
    if (!std::isfinite(least_ms_[num_cuts_])) {
      return cut;
    }
    cut.sum_ms = 0.0;
    std::size_t end = num_cuts_;
    while (end > 0) {
      const std::size_t begin = best_begin(end, limit_ms);
      const double ms = step_ms(begin, end);
      cut.chunks.push_back(position(end) - position(begin));
      cut.sum_ms += ms;
      cut.max_ms = std::max(cut.max_ms, ms);
      end = begin;
    }
    std::ranges::reverse(cut.chunks);
    return cut;
  }

  // The cut before, on a cheapest way: found anew, since remembering it costs every relaxation.
  [[nodiscard]] std::size_t best_begin(std::size_t end, double limit_ms) const {
    std::size_t best = end - 1;
    double best_ms = std::numeric_limits<double>::infinity();
    for (std::size_t begin = end; begin > 0 && fits(begin - 1, end); --begin) {
      const double ms = step_ms(begin - 1, end);
      if (ms <= limit_ms * (1.0 + kRelativeExactness) && least_ms_[begin - 1] + ms < best_ms) {
        best_ms = least_ms_[begin - 1] + ms;
        best = begin - 1;
      }
    }
    return best;
  }

  const LatencyModel& model_;
  PromptWork prompt_;
  std::int64_t granule_tokens_;
  std::size_t num_cuts_;
  std::size_t most_granules_;
  std::int64_t max_chunk_tokens_;
  std::vector<double> least_ms_;  // to each cut
};

// Longest steps yet to look at, (low_ms, high_ms), and what no plan of theirs can beat.
struct Interval {
  double bound_ms;
  double low_ms;
  double high_ms;
  double high_sum_ms;  // the least sum at high_ms

  friend bool operator<(const Interval& left, const Interval& right) {
    return left.bound_ms > right.bound_ms;  // the most promising one first
  }
};

Cut best_cut(CutSearch& search, double extra_stages) {
  Cut best = search.cheapest(std::numeric_limits<double>::infinity());
  if (extra_stages <= 0.0) {
    return best;
  }
  std::priority_queue<Interval> intervals;
  const auto branch = [&](double low_ms, double high_ms, double high_sum_ms) {
    const double bound_ms = high_sum_ms + extra_stages * low_ms;
    if (bound_ms < best.makespan_ms(extra_stages) * (1.0 - kRelativeExactness)) {
      intervals.push(
          {.bound_ms = bound_ms, .low_ms = low_ms, .high_ms = high_ms, .high_sum_ms = high_sum_ms});
    }
  };
  branch(0.0, best.max_ms, best.sum_ms);
  while (!intervals.empty()) {
    const Interval interval = intervals.top();
    intervals.pop();
    if (interval.bound_ms >= best.makespan_ms(extra_stages) * (1.0 - kRelativeExactness)) {
      break;
    }
    const double middle_ms = 0.5 * (interval.low_ms + interval.high_ms);
    if (middle_ms <= interval.low_ms || middle_ms >= interval.high_ms) {
      continue;  // no time between the two that a double can tell apart
    }
    Cut cut = search.cheapest(middle_ms);
    branch(middle_ms, interval.high_ms, interval.high_sum_ms);
    if (cut.chunks.empty()) {
      continue;
    }
    const double sum_ms = cut.sum_ms;
    const double max_ms = cut.max_ms;
    if (cut.makespan_ms(extra_stages) < best.makespan_ms(extra_stages)) {
      best = std::move(cut);
    }
    // Between the plan's own longest step and the middle, the plan stays the cheapest.
    branch(interval.low_ms, std::min(max_ms, middle_ms), sum_ms);
  }
  return best;
}

}  // namespace

Plan terapipe_plan(const Stages& stages, std::int64_t prompt_tokens, std::int64_t max_chunk_tokens,
                   std::int64_t granule_tokens, std::int64_t num_computed_tokens) {
  if (!stages.are_equal()) {
    throw InvalidArgument("stages", "equal for TeraPipe's dynamic programme", "unequal ones");
  }
  check_count("prompt_tokens", prompt_tokens, 1);
  check_count("num_computed_tokens", num_computed_tokens, 0, prompt_tokens - 1);
  check_count("max_chunk_tokens", max_chunk_tokens, 1);
  check_count("granule_tokens", granule_tokens, 1, max_chunk_tokens);
  CutSearch search(stages[0],
                   {.num_tokens = prompt_tokens - num_computed_tokens,
                    .num_computed_tokens = num_computed_tokens},
                   max_chunk_tokens, granule_tokens);
  const auto extra_stages = static_cast<double>(stages.size() - 1);
  Cut cut = best_cut(search, extra_stages);
  if (cut.chunks.empty()) {
    throw InvalidArgument({.field = "stages", .value = "no finite time"},
                          "the stages' model prices a prompt of " + std::to_string(prompt_tokens) +
                              " tokens beyond all numbers");
  }
  Plan plan;
  plan.step_targets_ms = {cut.max_ms};
  plan.makespan_ms = cut.makespan_ms(extra_stages);
  plan.chunks = std::move(cut.chunks);
  return plan;
}

}  // namespace cpp_chunk
