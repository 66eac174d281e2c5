// Spaces and measured passes of any kind, through the design of a profile.

#include "cpp_chunk/profile_design.h"

#include <algorithm>
#include <vector>

#include "cpp_chunk/error.h"
#include "harness.h"
#include "require.h"

namespace cpp_chunk::fuzz {
namespace {

bool is_same(const Chunk& a, const Chunk& b) {
  return a.num_tokens == b.num_tokens && a.num_computed_tokens == b.num_computed_tokens;
}

std::ptrdiff_t count(const std::vector<Chunk>& chunks, const Chunk& chunk) {
  return std::ranges::count_if(chunks, [&](const Chunk& one) { return is_same(one, chunk); });
}

void require_inside(const ProfileSpace& space, const std::vector<Chunk>& chunks) {
  for (const Chunk& chunk : chunks) {
    require(chunk.num_tokens >= space.smallest_chunk_tokens &&
                chunk.num_tokens <= space.max_chunk_tokens,
            "a size is in the space");
    require(chunk.num_computed_tokens >= 0 &&
                chunk.num_tokens + chunk.num_computed_tokens <= space.max_context_tokens,
            "a history is in the space");
    require(count(chunks, chunk) == 1, "passes are distinct");
  }
}

}  // namespace

void run(Input& input) {
  const ProfileSpace space{.smallest_chunk_tokens = input.tokens(),
                           .max_chunk_tokens = input.tokens(),
                           .max_context_tokens = input.tokens(),
                           .alignment = input.tokens(),
                           .longest_pass_ms = input.number(-2.0, 6.0)};
  std::vector<MeasuredPass> measured;
  std::vector<Chunk> taken;
  try {
    const std::vector<Chunk> scouts = scouting_passes(space);
    require(!scouts.empty(), "there is a scout");
    require_inside(space, scouts);
    const LatencyModel truth = input.model();
    for (const Chunk& scout : scouts) {
      const double factor = input.flag() ? 1.0 : input.number(-3.0, 3.0);
      measured.push_back(
          {.chunk = scout, .latency_ms = factor * truth.step_ms(std::span(&scout, 1))});
      taken.push_back(scout);
    }
    for (std::size_t more = input.count(4); more > 0; --more) {
      measured.push_back({.chunk = input.chunk(), .latency_ms = input.number(-3.0, 5.0)});
      taken.push_back(measured.back().chunk);
    }
    const std::size_t num_new = input.count(6);
    const std::size_t num_repeats = input.count(4);
    const std::vector<Chunk> chosen = next_passes(space, measured, num_new, num_repeats);
    std::vector<Chunk> fresh;
    for (const Chunk& chunk : chosen) {
      require(count(chosen, chunk) == 1, "passes are distinct");
      require(count(taken, chunk) <= 1, "no pass is run a third time");
      if (count(taken, chunk) == 0) {
        fresh.push_back(chunk);
      }
    }
    require(fresh.size() <= num_new, "no more new passes than asked for");
    require(chosen.size() - fresh.size() <= num_repeats, "no more repeats than asked for");
    require_inside(space, fresh);
  } catch (const InvalidArgument&) {
  }
}

}  // namespace cpp_chunk::fuzz
