#include "cpp_chunk/plan.h"

#include <string>

#include "bindings/bindings.h"

namespace py = pybind11;

namespace cpp_chunk::bindings {

void bind_plan(py::module_& module) {
  py::class_<Plan>(module, "Plan", "How one prompt goes through an otherwise idle pipeline.")
      .def_readonly("chunks", &Plan::chunks, "Tokens of each step, in order.")
      .def_readonly("target_ms", &Plan::target_ms,
                    "Step time aimed at, in ms, the constant included.")
      .def_readonly("makespan_ms", &Plan::makespan_ms,
                    "Time until the last step leaves the last stage, in ms.")
      .def("__repr__", [](const Plan& plan) -> std::string {
        return py::str("Plan(chunks={!r}, target_ms={!r}, makespan_ms={!r})")
            .format(plan.chunks, plan.target_ms, plan.makespan_ms);
      });

  module.def(
      "plan_chunks",
      [](const LatencyModel& model, std::int64_t prompt_tokens, std::int64_t num_stages,
         std::int64_t max_chunk_tokens, std::int64_t min_chunk_tokens, std::int64_t alignment,
         std::int64_t num_computed_tokens) {
        return plan_chunks(model, prompt_tokens, num_stages,
                           to_limits(max_chunk_tokens, min_chunk_tokens, alignment),
                           num_computed_tokens);
      },
      py::arg("model"), py::arg("prompt_tokens"), py::kw_only(), py::arg("num_stages"),
      py::arg("max_chunk_tokens"), py::arg("min_chunk_tokens"), py::arg("alignment"),
      py::arg("num_computed_tokens") = 0,
      R"(Plan one prompt: the best target, then the chunks that serving would choose for it.

prompt_tokens: the whole prompt, of which num_computed_tokens are already computed; the chunks
sum to the difference. Times in ms. Raises InvalidArgument unless 0 <= num_computed_tokens <
prompt_tokens <= 10^12 and the limits agree with each other.)");
}

}  // namespace cpp_chunk::bindings
