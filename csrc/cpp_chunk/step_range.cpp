#include "cpp_chunk/step_range.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "cpp_chunk/trials.h"

namespace cpp_chunk {
namespace {

// Most steps of a plan worth a trial: it leaves some for others.
constexpr double kMostTriedSteps = 3000.0;

}  // namespace

StepRange::StepRange(double total_tokens, const ChunkLimits& limits)
    : fewest(std::max(1.0, std::ceil(total_tokens / static_cast<double>(limits.max_chunk_tokens)))),
      most(std::max(fewest,
                    std::ceil(total_tokens / static_cast<double>(std::max(limits.min_chunk_tokens,
                                                                          std::int64_t{1}))))) {
  // A number of steps that is too large for any trial could never be chosen.
  most = std::min(most, std::max(1.0, fewest / kSampleSteps) * kMostTriedSteps);
}

}  // namespace cpp_chunk
