// Times one ChunkSolver step: begin, solve, account. Prints nanoseconds a step, median of batches.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "cpp_chunk/chunk_solver.h"

namespace {

constexpr std::int64_t kPromptTokens = 131072;
constexpr std::int64_t kMaxChunkTokens = 8192;
constexpr double kTargetMs = 175.0;
constexpr int kNumBatches = 101;
constexpr int kStepsPerBatch = 4096;

}  // namespace

int main() {
  const cpp_chunk::LatencyModel model(
      {.quadratic = 5e-5, .cross = 5e-5, .linear = 0.05, .context = 0.002, .constant = 4.0});
  cpp_chunk::ChunkSolver solver(
      model, {.max_chunk_tokens = kMaxChunkTokens, .min_chunk_tokens = 64, .alignment = 16});

  std::vector<double> batches_ns;
  std::int64_t sum_tokens = 0;
  for (int batch = 0; batch < kNumBatches; ++batch) {
    std::int64_t num_computed_tokens = 0;
    const auto start = std::chrono::steady_clock::now();
    for (int step = 0; step < kStepsPerBatch; ++step) {
      solver.begin_step(kTargetMs);
      const std::int64_t chunk = solver.chunk_tokens(kPromptTokens - num_computed_tokens,
                                                     num_computed_tokens, kMaxChunkTokens);
      solver.add_chunk({.num_tokens = chunk, .num_computed_tokens = num_computed_tokens});
      sum_tokens += chunk;
      num_computed_tokens += chunk;
      if (num_computed_tokens >= kPromptTokens) {
        num_computed_tokens = 0;
      }
    }
    const std::chrono::duration<double, std::nano> elapsed =
        std::chrono::steady_clock::now() - start;
    batches_ns.push_back(elapsed.count() / kStepsPerBatch);
  }
  std::ranges::nth_element(batches_ns, batches_ns.begin() + kNumBatches / 2);
  // The sum is printed so that no compiler can leave the work out.
  std::printf("%.2f %lld\n", batches_ns[kNumBatches / 2], static_cast<long long>(sum_tokens));
}
