#include "cpp_chunk/layer_split.h"

#include <string>

#include "bindings/bindings.h"

namespace py = pybind11;

namespace cpp_chunk::bindings {

void bind_layer_split(py::module_& module) {
  py::class_<LayerSplit>(module, "LayerSplit",
                         "How many of a model's layers each stage gets (VLLM_PP_LAYER_PARTITION).")
      .def_readonly("layers", &LayerSplit::layers, "Layers of each stage, in order.")
      .def_readonly("makespan_ms", &LayerSplit::makespan_ms,
                    "Time to first token of the prompt with these layers, in ms.")
      .def_readonly("makespan_before_ms", &LayerSplit::makespan_before_ms,
                    "The same with the layers that the stages were measured with.")
      .def("__repr__", [](const LayerSplit& split) -> std::string {
        return py::str("LayerSplit(layers={!r}, makespan_ms={!r}, makespan_before_ms={!r})")
            .format(split.layers, split.makespan_ms, split.makespan_before_ms);
      });

  module.def("default_layer_split", &default_layer_split, py::arg("num_layers"),
             py::arg("num_stages"),
             R"(Layers of each stage as vLLM splits them without VLLM_PP_LAYER_PARTITION.

Equal shares; what is left over goes to the stages before the last, one each.
Raises InvalidArgument unless 1 <= num_stages <= num_layers.)");

  module.def(
      "best_layer_split",
      [](const std::vector<LatencyModel>& stages, std::int64_t prompt_tokens,
         const std::vector<std::int64_t>& layers, std::int64_t max_chunk_tokens,
         std::int64_t min_chunk_tokens, std::int64_t alignment,
         const std::vector<std::int64_t>& preferred_multiples, double max_step_ms) {
        return best_layer_split(Stages(stages), prompt_tokens, layers,
                                to_limits(max_chunk_tokens, min_chunk_tokens, alignment,
                                          preferred_multiples, max_step_ms));
      },
      py::arg("stages"), py::arg("prompt_tokens"), py::arg("layers"), py::kw_only(),
      CPP_CHUNK_LIMIT_ARGS,
      R"(The layer split that evens the stages out for a prompt, and what it would bring.

layers: of each stage, when its model was measured. A layer is taken to cost what its stage's
layers cost on average. The layers are returned as given when nothing is better.
Raises InvalidArgument for counts below 1, or not one count for each stage.)");
}

}  // namespace cpp_chunk::bindings
