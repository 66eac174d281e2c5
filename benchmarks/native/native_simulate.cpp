// Times the simulator: four stages, nothing recorded. Prints, for each policy and workload, its
// name and the steps it simulates a second, median of runs.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <optional>
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

struct Workload {
  const char* name;
  std::vector<cpp_chunk::SimulatedRequest> requests;
  std::optional<std::int64_t> max_concurrency;
};

// A million tokens a prompt: steps of one chunk, or of a few.
std::vector<cpp_chunk::SimulatedRequest> long_prompts() {
  return std::vector<cpp_chunk::SimulatedRequest>(400, {.prompt_tokens = 1'000'000});
}

// Short and long prompts, each decoded for a while: some chunks and decodes in every step.
std::vector<cpp_chunk::SimulatedRequest> mixed_prompts(double arrival_interval_ms) {
  std::vector<cpp_chunk::SimulatedRequest> requests;
  for (std::int64_t i = 0; i < 4000; ++i) {
    requests.push_back({.prompt_tokens = 512 + (i * 7919) % 16384,
                        .arrival_ms = arrival_interval_ms * static_cast<double>(i),
                        .output_tokens = 32 + i % 64});
  }
  return requests;
}

// One after the other; many at once; a service with 8 users; arrivals at twice the rate that the
// pipeline can serve, so that thousands wait.
const std::vector<Workload>& workloads() {
  static const std::vector<Workload> all{{"long_alone", long_prompts(), 1},
                                         {"long_48", long_prompts(), 48},
                                         {"mixed_8", mixed_prompts(0.0), 8},
                                         {"mixed_overload", mixed_prompts(250.0), std::nullopt}};
  return all;
}

cpp_chunk::ChunkPlanner planner() {
  return {
      cpp_chunk::Stages(stage(), kNumStages),
      {.limits = {
           .max_chunk_tokens = kMaxNumBatchedTokens, .min_chunk_tokens = 256, .alignment = 128}}};
}

template <typename MakePolicy>
void measure(const char* name, const MakePolicy& make_policy) {
  for (const Workload& workload : workloads()) {
    const cpp_chunk::SimulatedPipeline pipeline{
        .stages = std::vector<cpp_chunk::LatencyModel>(kNumStages, stage()),
        .max_num_batched_tokens = kMaxNumBatchedTokens,
        .max_concurrency = workload.max_concurrency};
    std::vector<double> steps_per_s;
    for (int run = 0; run < kNumRuns; ++run) {
      auto policy = make_policy();
      const auto start = std::chrono::steady_clock::now();
      const cpp_chunk::SimulationResult result =
          cpp_chunk::simulate(pipeline, workload.requests, policy);
      const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
      steps_per_s.push_back(static_cast<double>(result.num_steps) / elapsed.count());
    }
    std::ranges::nth_element(steps_per_s, steps_per_s.begin() + kNumRuns / 2);
    std::printf("%s_%s %.0f\n", name, workload.name, steps_per_s[kNumRuns / 2]);
  }
}

}  // namespace

int main() {
  constexpr std::int64_t kBase = kMaxNumBatchedTokens;
  measure("fixed", [] { return cpp_chunk::FixedPolicy(kBase / 4); });
  measure("planner", planner);
  measure("sglang", [] { return cpp_chunk::SglangPolicy(stage(), kBase); });
  measure("vllm_ascend", [] { return cpp_chunk::VllmAscendPolicy(stage(), kBase); });
  measure("atom", [] { return cpp_chunk::AtomPolicy(stage(), kBase); });
}
