// The simulator: four stages, nothing recorded. For each policy and workload the counter `steps` is
// the steps that it simulates a second.

#include <benchmark/benchmark.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cpp_chunk/planner.h"
#include "cpp_chunk/simulator/policies/atom_policy.h"
#include "cpp_chunk/simulator/policies/fixed_policy.h"
#include "cpp_chunk/simulator/policies/sglang_policy.h"
#include "cpp_chunk/simulator/policies/vllm_ascend_policy.h"
#include "cpp_chunk/simulator/simulate.h"

namespace {

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
void add(const std::string& policy_name, const MakePolicy& make_policy) {
  for (const Workload& workload : workloads()) {
    const cpp_chunk::SimulatedPipeline pipeline{
        .stages = std::vector<cpp_chunk::LatencyModel>(kNumStages, stage()),
        .max_num_batched_tokens = kMaxNumBatchedTokens,
        .max_concurrency = workload.max_concurrency};
    const std::string name = policy_name + "_" + workload.name;
    benchmark::RegisterBenchmark(name.c_str(), [pipeline, &workload,
                                                make_policy](benchmark::State& state) {
      double num_steps = 0.0;
      for (auto _ : state) {
        auto policy = make_policy();
        num_steps +=
            static_cast<double>(cpp_chunk::simulate(pipeline, workload.requests, policy).num_steps);
      }
      state.counters["steps"] = benchmark::Counter(num_steps, benchmark::Counter::kIsRate);
    });
  }
}

}  // namespace

int main(int argc, char** argv) {
  constexpr std::int64_t kBase = kMaxNumBatchedTokens;
  add("fixed", [] { return cpp_chunk::FixedPolicy(kBase / 4); });
  add("planner", planner);
  add("sglang", [] { return cpp_chunk::SglangPolicy(stage(), kBase); });
  add("vllm_ascend", [] { return cpp_chunk::VllmAscendPolicy(stage(), kBase); });
  add("atom", [] { return cpp_chunk::AtomPolicy(stage(), kBase); });
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
