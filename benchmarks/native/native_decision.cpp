// One step's decision with 256 requests in it: begin, 255 decodes, one prefill's chunk, account.

#include <benchmark/benchmark.h>

#include <array>
#include <cstdint>

#include "cpp_chunk/planner.h"

namespace {

constexpr std::int64_t kNumStages = 8;
constexpr std::int64_t kNumDecodes = 255;
constexpr std::int64_t kDecodeContextTokens = 4000;
constexpr std::int64_t kPromptTokens = 131'072;
constexpr std::int64_t kMaxNumBatchedTokens = 16'384;

template <typename AddDecodes>
void decide(benchmark::State& state, const AddDecodes& add_decodes) {
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

  cpp_chunk::PromptWork prompt{.num_tokens = kPromptTokens};
  std::int64_t step = 0;
  for (auto _ : state) {
    planner.begin_step();
    add_decodes(planner);
    const cpp_chunk::Chunk chunk{
        .num_tokens = planner.chunk_tokens(prompt, kMaxNumBatchedTokens - kNumDecodes),
        .num_computed_tokens = prompt.num_computed_tokens};
    planner.add_chunk(chunk);
    planner.step_scheduled(++step, std::array{chunk});
    planner.step_left(step);
    benchmark::DoNotOptimize(chunk);
    prompt.num_tokens -= chunk.num_tokens;
    prompt.num_computed_tokens += chunk.num_tokens;
    if (prompt.num_tokens == 0) {
      prompt = {.num_tokens = kPromptTokens};
    }
  }
}

void one_by_one(benchmark::State& state) {
  decide(state, [](cpp_chunk::ChunkPlanner& planner) {
    for (std::int64_t decode = 0; decode < kNumDecodes; ++decode) {
      planner.add_chunk({.num_tokens = 1, .num_computed_tokens = kDecodeContextTokens});
    }
  });
}
BENCHMARK(one_by_one);

void at_once(benchmark::State& state) {
  decide(state, [](cpp_chunk::ChunkPlanner& planner) {
    planner.add_decodes(kNumDecodes, kNumDecodes * kDecodeContextTokens);
  });
}
BENCHMARK(at_once);

}  // namespace
