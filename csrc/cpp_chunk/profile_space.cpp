#include "cpp_chunk/profile_space.h"

#include <algorithm>
#include <array>
#include <numbers>
#include <optional>
#include <string>

#include "cpp_chunk/error.h"
#include "cpp_chunk/number_text.h"

namespace cpp_chunk {
namespace {

// Histories of the grid, as shares of the longest.
constexpr std::array<double, 7> kHistoryShares = {0.0, 1.0 / 16, 1.0 / 8, 0.25, 0.5, 0.75, 1.0};
constexpr double kSizeRatio = std::numbers::sqrt2;

// The largest multiple of the alignment up to so many tokens. Where that is less than the least,
// the next multiple; and where that is more than the most, the number of tokens itself.
std::int64_t aligned(double tokens, std::int64_t alignment, std::int64_t least, std::int64_t most) {
  const auto whole = std::clamp(static_cast<std::int64_t>(tokens), least, most);
  const std::int64_t below = whole / alignment * alignment;
  if (below >= least) {
    return below;
  }
  return most - below >= alignment ? below + alignment : whole;
}

std::optional<WrongArgument> wrong_in(const ProfileSpace& space) {
  if (space.smallest_chunk_tokens < 1) {
    return {
        {.field = "smallest_chunk_tokens", .value = std::to_string(space.smallest_chunk_tokens)}};
  }
  if (space.max_chunk_tokens < space.smallest_chunk_tokens) {
    return {{.field = "max_chunk_tokens", .value = std::to_string(space.max_chunk_tokens)}};
  }
  if (space.max_context_tokens < space.max_chunk_tokens || space.max_context_tokens > kMaxTokens) {
    return {{.field = "max_context_tokens", .value = std::to_string(space.max_context_tokens)}};
  }
  if (space.alignment < 1 || space.alignment > kMaxTokens) {
    return {{.field = "alignment", .value = std::to_string(space.alignment)}};
  }
  if (!(space.longest_pass_ms > 0.0)) {
    return {{.field = "longest_pass_ms", .value = shown(space.longest_pass_ms)}};
  }
  return std::nullopt;
}

}  // namespace

void check_space(const ProfileSpace& space) {
  if (const std::optional<WrongArgument> wrong = wrong_in(space)) {
    throw InvalidArgument(
        *wrong,
        "a profile needs 1 <= smallest_chunk_tokens <= max_chunk_tokens <= max_context_tokens <= " +
            std::to_string(kMaxTokens) + ", alignment in [1, " + std::to_string(kMaxTokens) +
            "] and longest_pass_ms > 0, got " + std::to_string(space.smallest_chunk_tokens) + ", " +
            std::to_string(space.max_chunk_tokens) + ", " +
            std::to_string(space.max_context_tokens) + ", " + std::to_string(space.alignment) +
            " and " + shown(space.longest_pass_ms));
  }
}

Chunk chunk_at(const ProfileSpace& space, double tokens, double history_share) {
  const std::int64_t num_tokens =
      aligned(tokens, space.alignment, space.smallest_chunk_tokens, space.max_chunk_tokens);
  const std::int64_t longest = space.max_context_tokens - num_tokens;
  if (history_share <= 0.0 || longest < 1) {
    return {.num_tokens = num_tokens, .num_computed_tokens = 0};
  }
  return {.num_tokens = num_tokens,
          .num_computed_tokens =
              aligned(history_share * static_cast<double>(longest), space.alignment, 1, longest)};
}

std::vector<Chunk> grid_of(const ProfileSpace& space) {
  std::vector<Chunk> chunks;
  const auto largest = static_cast<double>(space.max_chunk_tokens);
  for (auto tokens = static_cast<double>(space.smallest_chunk_tokens);;
       tokens = std::min(largest, tokens * kSizeRatio)) {
    for (const double share : kHistoryShares) {
      const Chunk chunk = chunk_at(space, tokens, share);
      if (std::ranges::find(chunks, chunk) == chunks.end()) {
        chunks.push_back(chunk);
      }
    }
    if (tokens >= largest) {
      return chunks;
    }
  }
}

}  // namespace cpp_chunk
