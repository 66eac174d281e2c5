// One ChunkSolver step: begin, solve, account.

#include <benchmark/benchmark.h>

#include <cstdint>

#include "cpp_chunk/chunk_solver.h"

namespace {

constexpr std::int64_t kPromptTokens = 131072;
constexpr std::int64_t kMaxChunkTokens = 8192;
constexpr double kTargetMs = 175.0;

void solve(benchmark::State& state) {
  const cpp_chunk::LatencyModel model(
      {.quadratic = 5e-5, .cross = 5e-5, .linear = 0.05, .context = 0.002, .constant = 4.0});
  cpp_chunk::ChunkSolver solver(
      model, {.max_chunk_tokens = kMaxChunkTokens, .min_chunk_tokens = 64, .alignment = 16});
  std::int64_t num_computed_tokens = 0;
  for (auto _ : state) {
    solver.begin_step(kTargetMs);
    const std::int64_t chunk = solver.chunk_tokens(kPromptTokens - num_computed_tokens,
                                                   num_computed_tokens, kMaxChunkTokens);
    solver.add_chunk({.num_tokens = chunk, .num_computed_tokens = num_computed_tokens});
    benchmark::DoNotOptimize(chunk);
    num_computed_tokens += chunk;
    if (num_computed_tokens >= kPromptTokens) {
      num_computed_tokens = 0;
    }
  }
}
BENCHMARK(solve);

}  // namespace
