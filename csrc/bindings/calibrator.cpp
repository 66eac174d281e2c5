#include "cpp_chunk/calibrator.h"

#include <algorithm>

#include "bindings/bindings.h"
#include "cpp_chunk/error.h"

namespace py = pybind11;

namespace cpp_chunk::bindings {

void bind_calibrator(py::module_& module) {
  py::class_<Calibrator>(module, "Calibrator",
                         "Refits a latency model over a profile and the last measured steps.")
      .def(py::init([](const std::vector<Sample>& profile_samples, std::int64_t capacity) {
             return Calibrator(to_measured_steps(profile_samples),
                               static_cast<std::size_t>(std::max<std::int64_t>(0, capacity)));
           }),
           py::arg("profile_samples"), py::kw_only(), py::arg("capacity"),
           R"(Keep a profile, [(chunks, latency_ms), ...], and room for `capacity` recent steps.

The profile is the prior of every refit: what recent steps do not tell, it does, up to a common
factor. Recent steps count more than old ones; those before a drift are forgotten.

Raises InvalidArgument for an unusable profile sample or a capacity outside [1, 10^6].)")
      .def(
          "add",
          [](Calibrator& calibrator, const std::vector<TokenPair>& chunks, double latency_ms) {
            StepFeatures features;
            for (const auto& [num_tokens, num_computed_tokens] : chunks) {
              const Chunk chunk{.num_tokens = num_tokens,
                                .num_computed_tokens = num_computed_tokens};
              if (!is_valid(chunk)) {
                calibrator.reject();
                return false;
              }
              features.add(chunk);
            }
            return calibrator.add(features, latency_ms);
          },
          py::arg("chunks"), py::arg("latency_ms"),
          R"(Remember a measured step, in place of the oldest when full.

chunks: [(num_tokens, num_computed_tokens), ...]; latency_ms: of one stage.
False when the sample is unusable (no tokens, negative ones, latency not finite and > 0): it is
counted in num_rejected and dropped.)")
      // It takes longer than a scheduler may wait: so that a thread beside it can refit.
      .def("refit", &Calibrator::refit, py::call_guard<py::gil_scoped_release>(),
           R"(Fit profile and recent steps together. Raises FitRefused; see fit_latency_model.

Lets other Python threads run meanwhile; until it returns, this object is not to be used.)")
      .def_property_readonly("capacity", &Calibrator::capacity, "Most recent steps kept.")
      .def_property_readonly("num_recent", &Calibrator::num_recent, "Recent steps held now.")
      .def_property_readonly("num_rejected", &Calibrator::num_rejected,
                             "Unusable samples dropped so far.")
      .def_property_readonly("num_drifts", &Calibrator::num_drifts,
                             "How often steps drifted from the model and it followed.")
      .def_property_readonly("scale", &Calibrator::scale,
                             "Recent step times over the profile's; 1 while nothing is known.");
}

}  // namespace cpp_chunk::bindings
