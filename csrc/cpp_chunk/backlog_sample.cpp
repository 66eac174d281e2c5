#include "cpp_chunk/backlog_sample.h"

#include <algorithm>

namespace cpp_chunk {
namespace {

// Where most of a backlog's time goes to few deep histories, few parts would miss them; each part's
// end may leave a step part-filled, so they are not more.
constexpr int kParts = 32;

}  // namespace

double sample_prompts(std::span<const PromptWork> prompts, double times, std::int64_t alignment,
                      std::vector<PromptPiece>& sample) {
  double total_tokens = 0.0;
  PromptWork deepest;
  for (const PromptWork& prompt : prompts) {
    total_tokens += static_cast<double>(prompt.num_tokens);
    if (prompt.num_tokens > 0 && prompt.num_computed_tokens + prompt.num_tokens >
                                     deepest.num_computed_tokens + deepest.num_tokens) {
      deepest = prompt;
    }
  }
  const double part_tokens = total_tokens / kParts;
  const double piece_tokens = part_tokens / times;
  double begin_tokens = 0.5 * (part_tokens - piece_tokens);
  double sampled_tokens = 0.0;
  double front_tokens = 0.0;  // of the backlog, before the prompt
  int part = 0;
  sample.clear();
  for (const PromptWork& prompt : prompts) {
    const auto num_tokens = static_cast<double>(prompt.num_tokens);
    while (part < kParts && begin_tokens < front_tokens + num_tokens) {
      const double begin = std::max(0.0, begin_tokens - front_tokens);
      const double end = std::min(num_tokens, begin_tokens + piece_tokens - front_tokens);
      const auto first = std::max(
          prompt.num_computed_tokens,
          (prompt.num_computed_tokens + static_cast<std::int64_t>(begin)) / alignment * alignment);
      const auto last = prompt.num_computed_tokens + static_cast<std::int64_t>(end);
      if (last > first) {
        sample.push_back({{.num_tokens = last - first, .num_computed_tokens = first},
                          prompt.num_computed_tokens + prompt.num_tokens - last});
        sampled_tokens += static_cast<double>(last - first);
      }
      if (begin_tokens + piece_tokens > front_tokens + num_tokens) {
        break;  // goes on in the next prompt
      }
      ++part;
      begin_tokens += part_tokens;
    }
    front_tokens += num_tokens;
  }
  const std::int64_t end = deepest.num_computed_tokens + deepest.num_tokens;
  const std::int64_t begin =
      std::max(deepest.num_computed_tokens,
               (end - std::max<std::int64_t>(1, static_cast<std::int64_t>(piece_tokens))) /
                   alignment * alignment);
  sample.push_back({{.num_tokens = end - begin, .num_computed_tokens = begin}, 0});
  sampled_tokens += static_cast<double>(end - begin);
  return total_tokens / sampled_tokens;
}

}  // namespace cpp_chunk
