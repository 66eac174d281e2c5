#include "cpp_chunk/target.h"

#include <optional>

#include "bindings/bindings.h"
#include "cpp_chunk/makespan_bound.h"

namespace py = pybind11;

namespace cpp_chunk::bindings {

void bind_target(py::module_& module) {
  module.def(
      "best_target_ms",
      [](const std::vector<LatencyModel>& stages, const std::vector<TokenPair>& prompts,
         std::int64_t max_chunk_tokens, std::int64_t min_chunk_tokens, std::int64_t alignment,
         const std::vector<std::int64_t>& preferred_multiples, double max_step_ms,
         std::optional<std::int64_t> max_in_flight) {
        return best_target_ms(Stages(stages, max_in_flight), to_prompts(prompts),
                              to_limits(max_chunk_tokens, min_chunk_tokens, alignment,
                                        preferred_multiples, max_step_ms));
      },
      py::arg("stages"), py::arg("prompts"), py::kw_only(), CPP_CHUNK_LIMIT_ARGS,
      py::arg("max_in_flight") = py::none(),
      R"(Step time, in ms and with the constant, that gets a backlog through the pipeline soonest.

stages: one LatencyModel for each, in order; the time is that on the slowest of them, and of the
longest step where stages are unequal. prompts: [(remaining_tokens, num_computed_tokens), ...],
taken as one flow, in order. max_chunk_tokens: tokens that a step may hold. max_in_flight: steps
scheduled that have not left the last stage, by default as many as stages.
Minimises the flow shop's makespan, sum(t) + (S-1) * max(t) for S equal stages and times that never
fall, over real plans, within a bounded time.
Raises InvalidArgument for an empty backlog, bad counts, or limits that contradict each other.)");

  module.def(
      "makespan_bound_ms",
      [](const std::vector<LatencyModel>& stages, const std::vector<TokenPair>& prompts) {
        return makespan_bound_ms(Stages(stages), to_prompts(prompts));
      },
      py::arg("stages"), py::arg("prompts"),
      R"(A time, in ms, that no steps take less than to bring a backlog through the stages.

Whatever the sizes, without alignment or cap. For S equal stages, work W that no cut changes and a
constant c this is (sqrt(W) + sqrt((S-1)*c))^2; where history costs (context > 0) it is a little below
what can be reached, of unequal stages well below.
stages: one LatencyModel for each; prompts: [(remaining_tokens, num_computed_tokens), ...].
Raises InvalidArgument for an empty backlog or bad counts.)");

  module.def("base_target_ms", &base_target_ms, py::arg("model"), py::arg("base_chunk_tokens"),
             R"(Step time, in ms and with the constant, of the published rule f(base) - f(0).

f is the time of a step of one chunk without history. Raises InvalidArgument unless
1 <= base_chunk_tokens <= 10^12.)");
}

}  // namespace cpp_chunk::bindings
