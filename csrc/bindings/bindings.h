#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "cpp_chunk/chunk_solver.h"
#include "cpp_chunk/step.h"

namespace cpp_chunk::bindings {

// The GIL is kept unless a call says otherwise: what a scheduler calls takes from a tenth of a
// microsecond to a millisecond or two, less than giving it back and taking it again can cost under
// load, and no object is locked. simulate, terapipe_plan and Calibrator.refit give it back, so that
// other threads go on: these are then to leave alone what the call was given. What takes tens of
// milliseconds and keeps it (makespan_bound_ms, a fit of thousands of steps) is for no server.

/// \brief Python's `(num_tokens, num_computed_tokens)`, or `(remaining, num_computed_tokens)`.
using TokenPair = std::pair<std::int64_t, std::int64_t>;
/// \brief The keywords that every function with ChunkLimits takes, after which to_limits is named;
/// expands to the py::arg of each.
#define CPP_CHUNK_LIMIT_ARGS                                                 \
  pybind11::arg("max_chunk_tokens"),                                         \
      pybind11::arg("min_chunk_tokens") = 1, pybind11::arg("alignment") = 1, \
      pybind11::arg("preferred_multiples") = std::vector<std::int64_t>{},    \
      pybind11::arg("max_step_ms") = std::numeric_limits<double>::infinity()

/// \brief Python's `(chunks, latency_ms)`.
using Sample = std::pair<std::vector<TokenPair>, double>;

[[nodiscard]] std::vector<Chunk> to_chunks(const std::vector<TokenPair>& pairs);
[[nodiscard]] std::vector<MeasuredStep> to_measured_steps(const std::vector<Sample>& samples);
[[nodiscard]] ChunkLimits to_limits(std::int64_t max_chunk_tokens, std::int64_t min_chunk_tokens,
                                    std::int64_t alignment,
                                    std::vector<std::int64_t> preferred_multiples,
                                    double max_step_ms);
[[nodiscard]] std::vector<PromptWork> to_prompts(const std::vector<TokenPair>& pairs);

void bind_error(pybind11::module_& module);
void bind_latency_model(pybind11::module_& module);
void bind_fit(pybind11::module_& module);
void bind_target(pybind11::module_& module);
void bind_chunk_solver(pybind11::module_& module);
void bind_plan(pybind11::module_& module);
void bind_calibrator(pybind11::module_& module);
void bind_layer_split(pybind11::module_& module);
void bind_planner(pybind11::module_& module);
void bind_policy(pybind11::module_& module);
void bind_policies(pybind11::module_& module);
void bind_profile_design(pybind11::module_& module);
void bind_simulator(pybind11::module_& module);

}  // namespace cpp_chunk::bindings
