// Times the simulator: four stages, nothing recorded. Prints, for each policy and workload, its
// name and the steps it simulates a second, median of runs.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "cpp_chunk/planner.h"
#include "cpp_chunk/simulator/policies/atom_policy.h"
#include "cpp_chunk/simulator/policies/fixed_policy.h"
#include "cpp_chunk/simulator/policies/sglang_policy.h"
#include "cpp_chunk/simulator/policies/vllm_ascend_policy.h"
#include "cpp_chunk/simulator/simulate.h"

namespace {

constexpr int kNumRuns = 7;
constexpr std::int64_t kNumStages = 4;
constexpr std::int64_t kMaxNumBatchedTokens = 8192;

const cpp_chunk::LatencyModel& stage() {
  static const cpp_chunk::LatencyModel model({.quadratic = 6.5e-7,
                                              .cross = 6.5e-7,
                                              .linear = 6.03e-3,
                                              .context = 5.39e-4,
                                              .constant = 43.6});
  return model;
}

// A million tokens a prompt, one after the other: steps of one chunk.
std::vector<cpp_chunk::SimulatedRequest> long_prompts() {
  return std::vector<cpp_chunk::SimulatedRequest>(400, {.prompt_tokens = 1'000'000});
}

// Short and long prompts that arrive all the time, each decoded for a while: some chunks and
// decodes in every step.
std::vector<cpp_chunk::SimulatedRequest> mixed_prompts() {
  std::vector<cpp_chunk::SimulatedRequest> requests;
  for (std::int64_t i = 0; i < 4000; ++i) {
    requests.push_back({.prompt_tokens = 512 + (i * 7919) % 16384,
                        .arrival_ms = 250.0 * static_cast<double>(i),
                        .output_tokens = 32 + i % 64});
  }
  return requests;
}

cpp_chunk::ChunkPlanner planner() {
  return {
      cpp_chunk::Stages(stage(), kNumStages),
      {.limits = {
           .max_chunk_tokens = kMaxNumBatchedTokens, .min_chunk_tokens = 256, .alignment = 128}}};
}

template <typename MakePolicy>
void measure(const char* name, const std::vector<cpp_chunk::SimulatedRequest>& requests,
             const MakePolicy& make_policy) {
  const cpp_chunk::SimulatedPipeline pipeline{
      .stages = std::vector<cpp_chunk::LatencyModel>(kNumStages, stage()),
      .max_num_batched_tokens = kMaxNumBatchedTokens};
  std::vector<double> steps_per_s;
  for (int run = 0; run < kNumRuns; ++run) {
    auto policy = make_policy();
    const auto start = std::chrono::steady_clock::now();
    const cpp_chunk::SimulationResult result = cpp_chunk::simulate(pipeline, requests, policy);
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    steps_per_s.push_back(static_cast<double>(result.num_steps) / elapsed.count());
  }
  std::ranges::nth_element(steps_per_s, steps_per_s.begin() + kNumRuns / 2);
  std::printf("%s %.0f\n", name, steps_per_s[kNumRuns / 2]);
}

}  // namespace

int main() {
  constexpr std::int64_t kBase = kMaxNumBatchedTokens;
  measure("fixed_long", long_prompts(), [] { return cpp_chunk::FixedPolicy(kBase / 4); });
  measure("fixed_mixed", mixed_prompts(), [] { return cpp_chunk::FixedPolicy(kBase / 4); });
  measure("planner_long", long_prompts(), planner);
  measure("planner_mixed", mixed_prompts(), planner);
  measure("sglang_long", long_prompts(), [] { return cpp_chunk::SglangPolicy(stage(), kBase); });
  measure("sglang_mixed", mixed_prompts(), [] { return cpp_chunk::SglangPolicy(stage(), kBase); });
  measure("vllm_ascend_long", long_prompts(),
          [] { return cpp_chunk::VllmAscendPolicy(stage(), kBase); });
  measure("atom_long", long_prompts(), [] { return cpp_chunk::AtomPolicy(stage(), kBase); });
}
