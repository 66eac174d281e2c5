#include "cpp_chunk/chunk_limits.h"

#include <string>

#include "cpp_chunk/check.h"
#include "cpp_chunk/error.h"
#include "cpp_chunk/number_text.h"

namespace cpp_chunk {

void ChunkLimits::check() const {
  const auto got = [this] {
    return "got max_chunk_tokens " + std::to_string(max_chunk_tokens) + ", min_chunk_tokens " +
           std::to_string(min_chunk_tokens) + ", alignment " + std::to_string(alignment);
  };
  if (max_chunk_tokens < 1 || max_chunk_tokens > kMaxTokens) {
    throw InvalidArgument(
        {.field = "max_chunk_tokens", .value = std::to_string(max_chunk_tokens)},
        "max_chunk_tokens must be in [1, " + std::to_string(kMaxTokens) + "], " + got());
  }
  if (min_chunk_tokens < 0 || min_chunk_tokens > max_chunk_tokens) {
    throw InvalidArgument({.field = "min_chunk_tokens", .value = std::to_string(min_chunk_tokens)},
                          "min_chunk_tokens must be in [0, max_chunk_tokens], " + got());
  }
  if (alignment < 1 || alignment > max_chunk_tokens) {
    throw InvalidArgument({.field = "alignment", .value = std::to_string(alignment)},
                          "alignment must be in [1, max_chunk_tokens], " + got());
  }
  for (const std::int64_t multiple : preferred_multiples) {
    check_count("preferred_multiples", multiple, 1);
  }
  if (!(max_step_ms > 0.0)) {
    throw InvalidArgument("max_step_ms", "above 0", shown(max_step_ms));
  }
}

}  // namespace cpp_chunk
