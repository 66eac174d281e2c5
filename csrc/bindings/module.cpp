#include "bindings/bindings.h"

PYBIND11_MODULE(_core, module) {
  namespace bindings = cpp_chunk::bindings;
  module.doc() = "Native core of cpp_chunk: latency model, fit, planner, calibrator, simulator.";
  bindings::bind_error(module);
  bindings::bind_latency_model(module);
  bindings::bind_fit(module);
  bindings::bind_target(module);
  bindings::bind_chunk_solver(module);
  bindings::bind_plan(module);
  bindings::bind_layer_split(module);
  bindings::bind_calibrator(module);
  bindings::bind_policy(module);
  bindings::bind_planner(module);
  bindings::bind_policies(module);
  bindings::bind_profile_design(module);
  bindings::bind_simulator(module);
}
