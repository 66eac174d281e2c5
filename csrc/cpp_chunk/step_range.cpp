#include "cpp_chunk/step_range.h"

#include <algorithm>
#include <cmath>

#include "cpp_chunk/trials.h"

namespace cpp_chunk {
namespace {

// Most steps of a plan worth a trial: it leaves some for others.
constexpr double kMostTriedSteps = 3000.0;

}  // namespace

StepRange::StepRange(double total_tokens, const ChunkLimits& limits)
    : fewest(std::ceil(total_tokens / static_cast<double>(limits.max_chunk_tokens))),
      most(std::max(1.0, fewest / kSampleSteps) * kMostTriedSteps) {}

}  // namespace cpp_chunk
