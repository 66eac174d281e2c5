#include "cpp_chunk/planner.h"

#include <optional>

#include "bindings/bindings.h"

namespace py = pybind11;

namespace cpp_chunk::bindings {

void bind_planner(py::module_& module) {
  py::class_<ChunkPlanner, ChunkPolicy>(
      module, "ChunkPlanner", py::is_final(),
      R"(Chunks of the step times that suit the backlog: what serves in vLLM.

The target is set when a prompt joins an idle pipeline, raised when the backlog or the decodes have
grown, and falls only once the work that it was set for is done or has gone away. step_scheduled
and step_left tell what is done, and when the pipeline is idle. Not thread-safe.)")
      .def(py::init([](const std::vector<LatencyModel>& stages, std::int64_t max_chunk_tokens,
                       std::int64_t min_chunk_tokens, std::int64_t alignment,
                       const std::vector<std::int64_t>& preferred_multiples, double max_step_ms,
                       double smooth_factor, std::optional<double> target_ms,
                       std::optional<std::int64_t> max_in_flight) {
             return ChunkPlanner(Stages(stages, max_in_flight),
                                 {.limits = to_limits(max_chunk_tokens, min_chunk_tokens, alignment,
                                                      preferred_multiples, max_step_ms),
                                  .smooth_factor = smooth_factor,
                                  .target_ms = target_ms});
           }),
           py::arg("stages"), py::kw_only(), CPP_CHUNK_LIMIT_ARGS, py::arg("smooth_factor") = 1.0,
           py::arg("target_ms") = py::none(), py::arg("max_in_flight") = py::none(),
           R"(Make a planner.

stages: one LatencyModel for each, in order, with what a step costs beyond its compute (the
engine's gap) in the constants. The limits are those of plan_chunks. smooth_factor in [0, 1]:
first chunks are max_chunk_tokens + smooth_factor * (solved - max_chunk_tokens).
target_ms: a step time to aim at whatever waits; None: the best one for the backlog.
max_in_flight: steps scheduled that have not left the last stage; None: as many as stages.
Raises InvalidArgument when these contradict each other.)")
      .def(
          "set_stages",
          [](ChunkPlanner& planner, const std::vector<LatencyModel>& stages,
             std::optional<double> target_ms) { planner.set_stages(Stages(stages), target_ms); },
          py::arg("stages"), py::arg("target_ms") = py::none(),
          R"(Plan with other models from the next step on; the target stays for the present backlog, and
as many steps stay in flight as before.

Raises InvalidArgument for another number of stages.)")
      .def("add_decodes", &ChunkPlanner::add_decodes, py::arg("num_decodes"),
           py::arg("num_computed_tokens"), py::arg("tokens_each") = 1,
           R"(The step now holds this many decodes as well, with num_computed_tokens history in all.

tokens_each: more than 1 with speculative tokens. Raises InvalidArgument for bad counts.)")
      .def(
          "shared_chunk_tokens",
          [](ChunkPlanner& planner, std::int64_t remaining_tokens, std::int64_t num_computed_tokens,
             std::int64_t max_tokens, double share) {
            return planner.shared_chunk_tokens(
                {.num_tokens = remaining_tokens, .num_computed_tokens = num_computed_tokens},
                max_tokens, share);
          },
          py::arg("remaining_tokens").noconvert(), py::arg("num_computed_tokens").noconvert(),
          py::arg("max_tokens").noconvert(), py::arg("share"),
          R"(chunk_tokens for a prompt that shall take no more than a part of the step's time.

share: in (0, 1], of the target less the constant and what the step's decodes take. One alignment
step of tokens it may have in any case.)")
      .def_property_readonly("target_ms", &ChunkPlanner::target_ms,
                             "Step time aimed at now, in ms, the constant included.")
      .def_property_readonly("step_ms", &ChunkPlanner::step_ms,
                             "Predicted time of the step so far in ms, the constant included.");
}

}  // namespace cpp_chunk::bindings
