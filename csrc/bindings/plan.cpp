#include "cpp_chunk/plan.h"

#include <algorithm>
#include <optional>
#include <string>

#include "bindings/bindings.h"

namespace py = pybind11;

namespace cpp_chunk::bindings {

void bind_plan(py::module_& module) {
  py::class_<Plan>(module, "Plan", "How one prompt goes through an otherwise idle pipeline.")
      .def_readonly("chunks", &Plan::chunks, "Tokens of each step, in order.")
      .def_readonly("step_targets_ms", &Plan::step_targets_ms,
                    "Step times aimed at on the slowest stage, in ms, the constant included: one "
                    "for all steps, or a row of which the last holds for all that follow.")
      .def_property_readonly(
          "target_ms",
          [](const Plan& plan) { return *std::ranges::max_element(plan.step_targets_ms); },
          "The longest of step_targets_ms.")
      .def_readonly("makespan_ms", &Plan::makespan_ms,
                    "Time until the last step leaves the last stage, in ms: the time to first "
                    "token of a lone prompt.")
      .def("__repr__", [](const Plan& plan) -> std::string {
        return py::str("Plan(chunks={!r}, step_targets_ms={!r}, makespan_ms={!r})")
            .format(plan.chunks, plan.step_targets_ms, plan.makespan_ms);
      });

  module.def(
      "plan_chunks",
      [](const std::vector<LatencyModel>& stages, std::int64_t prompt_tokens,
         std::int64_t max_chunk_tokens, std::int64_t min_chunk_tokens, std::int64_t alignment,
         const std::vector<std::int64_t>& preferred_multiples, double max_step_ms,
         std::int64_t num_computed_tokens, std::optional<std::int64_t> max_in_flight) {
        return plan_chunks(Stages(stages, max_in_flight), prompt_tokens,
                           to_limits(max_chunk_tokens, min_chunk_tokens, alignment,
                                     preferred_multiples, max_step_ms),
                           num_computed_tokens);
      },
      py::arg("stages"), py::arg("prompt_tokens"), py::kw_only(), CPP_CHUNK_LIMIT_ARGS,
      py::arg("num_computed_tokens") = 0, py::arg("max_in_flight") = py::none(),
      R"(Plan one prompt: the best step times, then the chunks that serving would choose for it.

stages: one LatencyModel for each, in order. prompt_tokens: the whole prompt, of which
num_computed_tokens are already computed; the chunks sum to the difference.
max_chunk_tokens: cap of every chunk; min_chunk_tokens: floor of a step's first chunk; alignment:
chunks end on multiples of it; preferred_multiples: what a chunk's size should be a multiple of
where these are small beside it; max_step_ms: no step is planned longer; max_in_flight: steps
scheduled that have not left the last stage, by default as many as stages.
Raises InvalidArgument unless 0 <= num_computed_tokens < prompt_tokens <= 10^12 and the limits
agree with each other.)");

  module.def(
      "plan_fixed_chunks",
      [](const std::vector<LatencyModel>& stages, std::int64_t prompt_tokens,
         std::int64_t chunk_tokens, std::int64_t num_computed_tokens,
         std::optional<std::int64_t> max_in_flight) {
        return plan_fixed_chunks(Stages(stages, max_in_flight), prompt_tokens, chunk_tokens,
                                 num_computed_tokens);
      },
      py::arg("stages"), py::arg("prompt_tokens"), py::arg("chunk_tokens"), py::kw_only(),
      py::arg("num_computed_tokens") = 0, py::arg("max_in_flight") = py::none(),
      R"(One prompt in chunks of chunk_tokens, the last one smaller: what dynamic chunks compete with.

max_in_flight: as for plan_chunks. Raises InvalidArgument for counts outside of [1, 10^12].)");
}

}  // namespace cpp_chunk::bindings
