// Whole workloads through the simulator, under every policy.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "cpp_chunk/error.h"
#include "cpp_chunk/planner.h"
#include "cpp_chunk/simulator/policies/atom_policy.h"
#include "cpp_chunk/simulator/policies/fixed_policy.h"
#include "cpp_chunk/simulator/policies/sglang_policy.h"
#include "cpp_chunk/simulator/policies/terapipe_policy.h"
#include "cpp_chunk/simulator/policies/vllm_ascend_policy.h"
#include "cpp_chunk/simulator/simulate.h"
#include "harness.h"
#include "require.h"

namespace cpp_chunk::fuzz {
namespace {

// Short enough that a simulation of single tokens still ends at once.
constexpr std::size_t kMostPromptTokens = 4096;
constexpr std::size_t kMostOutputTokens = 64;
constexpr std::size_t kMostRequests = 8;

std::unique_ptr<ChunkPolicy> any_policy(Input& input, const Stages& stages) {
  const LatencyModel& model = stages[0];
  switch (input.choice(5)) {
    case 0:
      return std::make_unique<FixedPolicy>(input.tokens());
    case 1:
      return std::make_unique<SglangPolicy>(model, input.tokens(), input.number(-3.0, 0.0),
                                            input.tokens());
    case 2:
      return std::make_unique<VllmAscendPolicy>(model, input.tokens(), input.number(-3.0, 0.0),
                                                input.tokens(), input.tokens());
    case 3:
      return std::make_unique<AtomPolicy>(
          model, input.tokens(),
          AtomSettings{.smooth_factor = input.number(-3.0, 0.0),
                       .min_chunk_tokens = input.tokens(),
                       .block_tokens = input.tokens(),
                       .max_overhead_share = input.number(-3.0, 0.0)});
    case 4:
      // A granule that leaves few places to cut: the exact programme is slow by nature.
      return std::make_unique<TerapipePolicy>(stages, input.tokens(),
                                              static_cast<std::int64_t>(256 + input.count(1024)));
    default:
      return std::make_unique<ChunkPlanner>(
          stages, PlannerSettings{.limits = input.limits(),
                                  .smooth_factor = input.flag() ? 1.0 : input.number(-2.0, 0.0)});
  }
}

SimulatedPipeline any_pipeline(Input& input, const Stages& stages) {
  SimulatedPipeline pipeline;
  pipeline.stages.assign(stages.models().begin(), stages.models().end());
  pipeline.max_num_batched_tokens = input.tokens();
  pipeline.max_num_seqs = input.tokens();
  pipeline.gap_ms = input.number(-2.0, 4.0);
  pipeline.transfer_ms = input.number(-2.0, 4.0);
  pipeline.transfer_ms_per_token = input.number(-6.0, 1.0);
  pipeline.transfer_overlaps = input.flag();
  if (input.flag()) {
    pipeline.max_in_flight = input.tokens();
  }
  if (input.flag()) {
    pipeline.max_concurrency = input.tokens();
  }
  return pipeline;
}

std::vector<SimulatedRequest> any_requests(Input& input) {
  std::vector<SimulatedRequest> requests;
  for (std::size_t left = input.count(kMostRequests); left > 0; --left) {
    SimulatedRequest request{
        .prompt_tokens = static_cast<std::int64_t>(input.count(kMostPromptTokens)),
        .arrival_ms = input.number(-1.0, 6.0),
        .output_tokens = static_cast<std::int64_t>(input.count(kMostOutputTokens))};
    if (input.flag()) {
      request.cached_tokens = static_cast<std::int64_t>(input.count(kMostPromptTokens));
    }
    requests.push_back(request);
  }
  return requests;
}

void require_all_served(const SimulationResult& result,
                        const std::vector<SimulatedRequest>& requests) {
  std::vector<std::int64_t> num_tokens(requests.size(), 0);
  for (const SimulatedStep& step : result.steps) {
    for (const StepChunk& chunk : step.chunks) {
      num_tokens[chunk.request_index] += chunk.num_tokens;
    }
  }
  for (std::size_t index = 0; index < requests.size(); ++index) {
    const SimulatedRequest& request = requests[index];
    const std::int64_t cached = std::min(request.cached_tokens, request.prompt_tokens - 1);
    require(num_tokens[index] == request.prompt_tokens - cached + request.output_tokens - 1,
            "every token is computed once");
    const RequestTimes& times = result.requests[index];
    require(times.arrival_ms >= request.arrival_ms, "nobody enters before arriving");
    require(times.first_token_ms >= times.arrival_ms, "tokens come after their request");
    require(times.end_ms >= times.first_token_ms, "the last token is not before the first");
  }
}

}  // namespace

void run(Input& input) {
  try {
    const Stages stages = input.stages();
    const std::unique_ptr<ChunkPolicy> policy = any_policy(input, stages);
    const std::vector<SimulatedRequest> requests = any_requests(input);
    const SimulationResult result =
        simulate(any_pipeline(input, stages), requests, *policy, /*record_steps=*/true);
    require_all_served(result, requests);
    require_time(result.makespan_ms, "the makespan is a time");
    for (const double share : result.bubble_share) {
      require(share >= -1e-9 && share <= 1.0, "bubbles are a share");
    }
  } catch (const InvalidArgument&) {
  }
}

}  // namespace cpp_chunk::fuzz
