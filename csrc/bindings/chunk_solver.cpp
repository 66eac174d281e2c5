#include "cpp_chunk/chunk_solver.h"

#include <optional>

#include "bindings/bindings.h"

namespace py = pybind11;

namespace cpp_chunk::bindings {

void bind_chunk_solver(py::module_& module) {
  py::class_<ChunkSolver>(module, "ChunkSolver", R"(Chooses chunks so that steps take equal time.

One step at a time: begin_step, then for each request add_chunk alone (decodes) or chunk_tokens
followed by add_chunk. Not thread-safe.)")
      .def(py::init([](const LatencyModel& model, std::int64_t max_chunk_tokens,
                       std::int64_t min_chunk_tokens, std::int64_t alignment,
                       const std::vector<std::int64_t>& preferred_multiples, double max_step_ms,
                       double smooth_factor, std::optional<std::int64_t> base_chunk_tokens) {
             return ChunkSolver(model,
                                to_limits(max_chunk_tokens, min_chunk_tokens, alignment,
                                          preferred_multiples, max_step_ms),
                                smooth_factor, base_chunk_tokens);
           }),
           py::arg("model"), py::kw_only(), CPP_CHUNK_LIMIT_ARGS, py::arg("smooth_factor") = 1.0,
           py::arg("base_chunk_tokens") = py::none(),
           R"(Make a solver for a model and an engine's limits, in tokens.

max_chunk_tokens: cap of every chunk; min_chunk_tokens: floor of the first chunk of a step;
alignment: chunks end on multiples of it, but for a prompt's last; preferred_multiples: what a
chunk's size should be a multiple of where these are small beside it; max_step_ms: no chunk makes
a step longer, but for one alignment step where a prompt would not move on otherwise.
smooth_factor in [0, 1]: first chunks are base + smooth_factor * (solved - base); 0 is fixed
chunking. base_chunk_tokens: by default max_chunk_tokens.
Raises InvalidArgument when they contradict each other.)")
      .def(
          "begin_step", [](ChunkSolver& solver, double target_ms) { solver.begin_step(target_ms); },
          py::arg("target_ms"),
          R"(Start a new step of target_ms, the constant included.

Raises InvalidArgument for NaN or a negative time; infinity means that only the caps hold.)")
      .def("chunk_tokens", &ChunkSolver::chunk_tokens, py::arg("remaining_tokens"),
           py::arg("num_computed_tokens"), py::arg("max_tokens"),
           R"(Chunk, in tokens, for a request in the step as it stands; commits nothing.

remaining_tokens: of the prompt; num_computed_tokens: before them; max_tokens: what the engine
still admits to this step. 0 when the step is full; never 0 in a step that holds nothing but
decodes, unless nothing remains or is admitted.
Raises InvalidArgument for counts that are negative or above 10^12, or before begin_step.)")
      .def(
          "add_chunk",
          [](ChunkSolver& solver, std::int64_t num_tokens, std::int64_t num_computed_tokens) {
            solver.add_chunk(
                {.num_tokens = num_tokens, .num_computed_tokens = num_computed_tokens});
          },
          py::arg("num_tokens"), py::arg("num_computed_tokens"),
          R"(Put a chunk into the step, whoever chose it; one token counts as a decode.

Raises InvalidArgument for counts that are negative or above 10^12.)")
      .def_property_readonly("step_ms", &ChunkSolver::step_ms,
                             "Predicted time of the step so far in ms, the constant included.");
}

}  // namespace cpp_chunk::bindings
