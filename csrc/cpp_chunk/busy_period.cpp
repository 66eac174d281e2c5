#include "cpp_chunk/busy_period.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

namespace cpp_chunk {
namespace {

// Enough to know the rare joins that find little, few enough to follow the load.
constexpr std::size_t kMaxJoins = 128;
// A prompt's last step takes the first tokens of the next prompt along, and more of them the worse
// the steps fit the prompts. With steps of the right length, prompts would have found this much
// more work than they did.
constexpr double kShared = 1.1;
constexpr double kNoLimitMs = std::numeric_limits<double>::infinity();

}  // namespace

void BusyPeriod::begin(const UncutWork& work) {
  first_work_ = work;
  joins_.clear();
}

void BusyPeriod::join(const UncutWork& work, const UncutWork& present) {
  joins_.push_back({.work = work, .present = present});
  if (joins_.size() > kMaxJoins) {
    joins_.pop_front();
  }
}

void BusyPeriod::withdraw(const UncutWork& work) {
  // Prompts are served in the order in which they joined, so what goes away is taken from the
  // latest ones.
  UncutWork rest = work;
  while (!joins_.empty() && joins_.back().work.num_tokens <= rest.num_tokens) {
    rest -= joins_.back().work;
    joins_.pop_back();
  }
  (joins_.empty() ? first_work_ : joins_.back().work) -= rest;
}

double BusyPeriod::best_step_ms(const Coefficients& cost, double overhead_ms,
                                double other_rounds) const {
  if (other_rounds <= 0.0) {
    return kNoLimitMs;
  }
  UncutWork work = first_work_;
  std::vector<double> found_ms{0.0};
  for (const Join& join : joins_) {
    work += join.work;
    found_ms.push_back(std::max(0.0, join.present.ms(cost)));
  }
  std::ranges::sort(found_ms);
  found_ms.push_back(kNoLimitMs);
  // The loss is convex in x, with a kink where x empties the stages for one join more.
  const auto kink_ms = [&](std::size_t join) { return kShared * found_ms[join] / other_rounds; };
  const double work_ms = std::max(0.0, work.ms(cost));
  for (std::size_t late = 1; late < found_ms.size(); ++late) {
    const double flat_ms =
        std::sqrt(work_ms * overhead_ms / (other_rounds * static_cast<double>(late)));
    if (flat_ms <= kink_ms(late)) {
      return overhead_ms + std::max(kink_ms(late - 1), flat_ms);
    }
  }
  return kNoLimitMs;
}

}  // namespace cpp_chunk
