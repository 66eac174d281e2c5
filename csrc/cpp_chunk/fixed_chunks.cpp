#include "cpp_chunk/fixed_chunks.h"

#include <algorithm>

#include "cpp_chunk/flow_shop.h"

namespace cpp_chunk {
namespace {

// Sizes that need more steps are not compared: what they could gain is below a per cent.
constexpr std::int64_t kMaxFixedSteps = 8192;

}  // namespace

FixedChunks cut_into_fixed_chunks(const Stages& stages, const PromptWork& prompt,
                                  std::int64_t num_tokens, std::int64_t alignment,
                                  double give_up_ms) {
  FixedChunks fixed;
  FlowShop flow_shop(stages);
  std::int64_t done = prompt.num_computed_tokens;
  const std::int64_t end = done + prompt.num_tokens;
  while (done < end && flow_shop.makespan_ms() <= give_up_ms) {
    const Chunk chunk{.num_tokens = std::min(end - done, num_tokens - done % alignment),
                      .num_computed_tokens = done};
    flow_shop.add(StepFeatures::of(chunk));
    fixed.chunks.push_back(chunk);
    done += chunk.num_tokens;
  }
  fixed.makespan_ms = flow_shop.makespan_ms();
  return fixed;
}

std::vector<std::int64_t> usual_fixed_sizes(const ChunkLimits& limits, std::int64_t num_tokens) {
  std::vector<std::int64_t> sizes;
  const auto consider = [&](std::int64_t size) {
    if (size >= std::max<std::int64_t>(1, limits.min_chunk_tokens) &&
        size <= limits.max_chunk_tokens && size % limits.alignment == 0 &&
        num_tokens / size <= kMaxFixedSteps) {
      sizes.push_back(size);
    }
  };
  for (std::int64_t power = 1; power <= limits.max_chunk_tokens; power *= 2) {
    consider(power);
    consider(power + power / 2);
  }
  consider(limits.max_chunk_tokens / limits.alignment * limits.alignment);
  return sizes;
}

}  // namespace cpp_chunk
