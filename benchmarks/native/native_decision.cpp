// Times one step's decision with 256 requests in it: begin, 255 decodes, one prefill's chunk,
// account. Prints, for decodes one by one and all at once, its name and nanoseconds a step, median
// of batches.

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "cpp_chunk/planner.h"

namespace {

constexpr std::int64_t kNumStages = 8;
constexpr std::int64_t kNumDecodes = 255;
constexpr std::int64_t kDecodeContextTokens = 4000;
constexpr std::int64_t kPromptTokens = 131'072;
constexpr std::int64_t kMaxNumBatchedTokens = 16'384;
constexpr int kNumBatches = 51;
constexpr int kStepsPerBatch = 1024;

template <typename AddDecodes>
void measure(const char* name, const AddDecodes& add_decodes) {
  const cpp_chunk::LatencyModel model({.quadratic = 6.5e-7,
                                       .cross = 6.5e-7,
                                       .linear = 6.03e-3,
                                       .context = 5.39e-4,
                                       .constant = 43.6});
  cpp_chunk::ChunkPlanner planner(
      cpp_chunk::Stages(model, kNumStages),
      {.limits = {
           .max_chunk_tokens = kMaxNumBatchedTokens, .min_chunk_tokens = 16, .alignment = 16}});
  const std::array backlog{cpp_chunk::PromptWork{.num_tokens = kPromptTokens}};
  planner.set_backlog(backlog, 0);

  std::vector<double> batches_ns;
  std::int64_t sum_tokens = 0;
  for (int batch = 0; batch < kNumBatches; ++batch) {
    cpp_chunk::PromptWork prompt{.num_tokens = kPromptTokens};
    const auto start = std::chrono::steady_clock::now();
    for (int step = 0; step < kStepsPerBatch; ++step) {
      planner.begin_step();
      add_decodes(planner);
      const std::int64_t num_tokens =
          planner.chunk_tokens(prompt, kMaxNumBatchedTokens - kNumDecodes);
      planner.add_chunk(
          {.num_tokens = num_tokens, .num_computed_tokens = prompt.num_computed_tokens});
      planner.step_scheduled(
          step, std::array{cpp_chunk::Chunk{.num_tokens = num_tokens,
                                            .num_computed_tokens = prompt.num_computed_tokens}});
      planner.step_left(step);
      sum_tokens += num_tokens;
      prompt.num_tokens -= num_tokens;
      prompt.num_computed_tokens += num_tokens;
      if (prompt.num_tokens == 0) {
        prompt = {.num_tokens = kPromptTokens};
      }
    }
    const std::chrono::duration<double, std::nano> elapsed =
        std::chrono::steady_clock::now() - start;
    batches_ns.push_back(elapsed.count() / kStepsPerBatch);
  }
  std::ranges::nth_element(batches_ns, batches_ns.begin() + kNumBatches / 2);
  // The sum is printed so that no compiler can leave the work out.
  std::printf("%s %.1f %lld\n", name, batches_ns[kNumBatches / 2],
              static_cast<long long>(sum_tokens));
}

}  // namespace

int main() {
  measure("one_by_one", [](cpp_chunk::ChunkPlanner& planner) {
    for (std::int64_t decode = 0; decode < kNumDecodes; ++decode) {
      planner.add_chunk({.num_tokens = 1, .num_computed_tokens = kDecodeContextTokens});
    }
  });
  measure("at_once", [](cpp_chunk::ChunkPlanner& planner) {
    planner.add_decodes(kNumDecodes, kNumDecodes * kDecodeContextTokens);
  });
}
