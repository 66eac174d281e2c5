#pragma once

#include <functional>
#include <span>

#include "cpp_chunk/policy.h"
#include "cpp_chunk/simulator/simulated_pipeline.h"
#include "cpp_chunk/simulator/simulated_request.h"
#include "cpp_chunk/simulator/simulation_result.h"

namespace cpp_chunk {

/// \brief Runs a workload through a pipeline whose chunks a policy sizes.
///
/// Event-driven: a step is formed as soon as there is room in flight and anything is schedulable;
/// when nothing is, time jumps to the next arrival or to the next step that leaves the last stage.
/// A step occupies a stage for step_ms + gap_ms, stages serve in order, and the last prefill
/// chunk's step yields the first token when it leaves the last stage. The policy is driven as its
/// interface documents; it learns a step's time when the step has left.
/// Memory: about 170 bytes a request and at most 16 an output token, of which it takes 10^7 and
/// 10^8, and up to 256 MiB of recorded steps. That is less than 4 GB in all.
/// \param pipeline the engine and its stages
/// \param requests the workload, in any order; served by arrival, equal ones in the order given
/// \param policy asked for every prefill chunk
/// \param record_steps whether the result lists every step
/// \param before_step called before every step; what it throws ends the run
/// \throws InvalidArgument for bad input, for a policy that gives nothing while nothing is in
///   flight, or a chunk out of its range, and for more than 10^8 steps or what
///   would take more memory
[[nodiscard]] SimulationResult simulate(const SimulatedPipeline& pipeline,
                                        std::span<const SimulatedRequest> requests,
                                        ChunkPolicy& policy, bool record_steps = false,
                                        const std::function<void()>& before_step = {});

}  // namespace cpp_chunk
