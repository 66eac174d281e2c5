#include "cpp_chunk/target.h"

#include "bindings/bindings.h"

namespace py = pybind11;

namespace cpp_chunk::bindings {

void bind_target(py::module_& module) {
  module.def(
      "best_target_ms",
      [](const LatencyModel& model, const std::vector<TokenPair>& prompts, std::int64_t num_stages,
         std::int64_t max_chunk_tokens, std::int64_t min_chunk_tokens, std::int64_t alignment) {
        std::vector<PromptWork> backlog;
        backlog.reserve(prompts.size());
        for (const auto& [num_tokens, num_computed_tokens] : prompts) {
          backlog.push_back({.num_tokens = num_tokens, .num_computed_tokens = num_computed_tokens});
        }
        return best_target_ms(model, backlog, num_stages,
                              to_limits(max_chunk_tokens, min_chunk_tokens, alignment));
      },
      py::arg("model"), py::arg("prompts"), py::kw_only(), py::arg("num_stages"),
      py::arg("max_chunk_tokens"), py::arg("min_chunk_tokens"), py::arg("alignment"),
      R"(Step time, in ms and with the constant, that gets a backlog through the pipeline soonest.

prompts: [(remaining_tokens, num_computed_tokens), ...], taken as one flow, in order.
num_stages: pipeline stages of equal speed; max_chunk_tokens: tokens that a step may hold.
Minimises sum(t) + (num_stages - 1) * max(t) over real plans, within a bounded time.
Raises InvalidArgument for an empty backlog, bad counts, or limits that contradict each other.)");

  module.def("base_target_ms", &base_target_ms, py::arg("model"), py::arg("base_chunk_tokens"),
             R"(Step time, in ms and with the constant, of the published rule f(base) - f(0).

f is the time of a step of one chunk without history. Raises InvalidArgument unless
1 <= base_chunk_tokens <= 10^12.)");
}

}  // namespace cpp_chunk::bindings
