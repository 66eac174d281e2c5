#include "cpp_chunk/busy_period.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace cpp_chunk {
namespace {

// Enough to know the rare joins that find little, few enough to follow the load.
constexpr std::size_t kMaxJoins = 128;
// A prompt's last step takes the beginning of the next prompt along, the more the less well steps
// fit the prompts: with steps of the right length a little more would be present than was found.
constexpr double kShared = 1.1;
constexpr double kNoLimitMs = std::numeric_limits<double>::infinity();

}  // namespace

void BusyPeriod::begin(double work_ms) {
  joins_.clear();
  first_work_ms_ = work_ms;
}

void BusyPeriod::join(double work_ms, double present_ms) {
  joins_.push_back({.work_ms = work_ms, .present_ms = present_ms});
  if (joins_.size() > kMaxJoins) {
    joins_.pop_front();
  }
}

double BusyPeriod::best_step_ms(double constant_ms, double other_rounds) const {
  if (other_rounds <= 0.0) {
    return kNoLimitMs;
  }
  double work_ms = first_work_ms_;
  std::vector<double> found_ms{0.0};
  found_ms.reserve(joins_.size() + 2);
  for (const Join& join : joins_) {
    work_ms += join.work_ms;
    found_ms.push_back(join.present_ms);
  }
  std::ranges::sort(found_ms);
  found_ms.push_back(kNoLimitMs);
  // The loss is convex in x, with a kink where x empties the stages for one join more.
  const auto kink_ms = [&](std::size_t join) { return kShared * found_ms[join] / other_rounds; };
  for (std::size_t late = 1; late < found_ms.size(); ++late) {
    const double flat_ms =
        std::sqrt(work_ms * constant_ms / (other_rounds * static_cast<double>(late)));
    if (flat_ms <= kink_ms(late)) {
      return constant_ms + std::max(kink_ms(late - 1), flat_ms);
    }
  }
  return kNoLimitMs;
}

}  // namespace cpp_chunk
