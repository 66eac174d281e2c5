#include "cpp_chunk/latency_model.h"

#include <array>
#include <string>
#include <tuple>

#include "bindings/bindings.h"

namespace py = pybind11;

namespace cpp_chunk::bindings {
namespace {

using State = std::tuple<double, double, double, double, double>;

LatencyModel make_model(double quadratic, double cross, double linear, double context,
                        double constant) {
  return LatencyModel({.quadratic = quadratic,
                       .cross = cross,
                       .linear = linear,
                       .context = context,
                       .constant = constant});
}

State state_of(const LatencyModel& model) {
  const Coefficients& cost = model.coefficients();
  return {cost.quadratic, cost.cross, cost.linear, cost.context, cost.constant};
}

// Python's own repr of a float is the shortest that reads back as the same value.
std::string repr(const LatencyModel& model) {
  const Coefficients& cost = model.coefficients();
  return py::str(
             "LatencyModel(quadratic={!r}, cross={!r}, linear={!r}, context={!r}, "
             "constant={!r})")
      .format(cost.quadratic, cost.cross, cost.linear, cost.context, cost.constant);
}

}  // namespace

void bind_latency_model(py::module_& module) {
  py::class_<LatencyModel>(module, "LatencyModel", py::is_final(),
                           R"(Latency of one step on one pipeline stage.

t = quadratic*sum(x^2/2) + cross*sum(x*h) + linear*sum(x) + context*sum(h) + constant

in milliseconds, over the step's chunks of x = num_tokens new tokens after h = num_computed_tokens
computed ones. Immutable.)")
      .def(py::init(&make_model), py::kw_only(), py::arg("quadratic"), py::arg("cross"),
           py::arg("linear"), py::arg("context"), py::arg("constant"),
           R"(Make a model from its coefficients, all finite and >= 0.

quadratic, cross: ms per token^2; linear, context: ms per token; constant: ms per step.
Raises InvalidArgument naming the coefficient and its value.)")
      .def_property_readonly(
          "quadratic", [](const LatencyModel& model) { return model.coefficients().quadratic; },
          "ms per token^2 on sum(num_tokens^2 / 2).")
      .def_property_readonly(
          "cross", [](const LatencyModel& model) { return model.coefficients().cross; },
          "ms per token^2 on sum(num_tokens * num_computed_tokens).")
      .def_property_readonly(
          "linear", [](const LatencyModel& model) { return model.coefficients().linear; },
          "ms per new token.")
      .def_property_readonly(
          "context", [](const LatencyModel& model) { return model.coefficients().context; },
          "ms per computed token before a chunk.")
      .def_property_readonly(
          "constant", [](const LatencyModel& model) { return model.coefficients().constant; },
          "ms per step.")
      .def(
          "step_ms",
          [](const LatencyModel& model, const std::vector<TokenPair>& chunks) {
            return model.step_ms(to_chunks(chunks));
          },
          py::arg("chunks"),
          R"(Predicted time of a step in ms.

chunks: [(num_tokens, num_computed_tokens), ...]; none at all costs the constant.
Raises InvalidArgument for token counts that are negative or above 10^12.)")
      .def("scaled", &LatencyModel::scaled, py::arg("factor"),
           R"(The model of a stage on which everything takes factor times as long.

Raises InvalidArgument unless factor is finite and >= 0.)")
      .def("with_overhead", &LatencyModel::with_overhead, py::arg("overhead_ms"),
           R"(The model of steps that each take overhead_ms longer, such as the engine's gap.

Raises InvalidArgument unless overhead_ms is finite and >= 0.)")
      .def("__repr__", &repr)
      .def(
          "__eq__",
          [](const LatencyModel& model, const py::object& other) {
            return py::isinstance<LatencyModel>(other) && model == other.cast<LatencyModel>();
          },
          py::arg("other"))
      .def("__hash__",
           [](const LatencyModel& model) { return py::hash(py::cast(state_of(model))); })
      .def(py::pickle(&state_of, [](const State& state) { return std::apply(make_model, state); }));
}

}  // namespace cpp_chunk::bindings
