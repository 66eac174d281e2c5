#include "cpp_chunk/fit.h"

#include <string>

#include "bindings/bindings.h"

namespace py = pybind11;

namespace cpp_chunk::bindings {
namespace {

py::typing::Tuple<py::str, py::ellipsis> names_at_bound(const FitReport& report) {
  py::list names;
  for (std::size_t i = 0; i < kNumCoefficients; ++i) {
    if (report.at_bound[i]) {
      names.append(std::string(kCoefficientNames[i]));
    }
  }
  return py::tuple(names);
}

std::string repr(const FitReport& report) {
  return py::str(
             "FitReport(model={!r}, num_points={}, num_outliers={}, mean_relative_error={:.4g}, "
             "p95_relative_error={:.4g}, condition_number={:.4g}, at_bound={!r})")
      .format(report.model, report.num_points, report.num_outliers, report.mean_relative_error,
              report.p95_relative_error, report.condition_number, names_at_bound(report));
}

}  // namespace

void bind_fit(py::module_& module) {
  py::class_<FitReport>(module, "FitReport", "A fitted latency model and how far to trust it.")
      .def_readonly("model", &FitReport::model, "The fitted LatencyModel.")
      .def_readonly("num_points", &FitReport::num_points, "Measured steps given.")
      .def_readonly("num_outliers", &FitReport::num_outliers, "Measured steps that got no weight.")
      .def_readonly("mean_relative_error", &FitReport::mean_relative_error,
                    "Mean of |predicted/measured - 1|, weighted by inlierness.")
      .def_readonly("p95_relative_error", &FitReport::p95_relative_error,
                    "95th percentile of |predicted/measured - 1| over the inliers.")
      .def_readonly("condition_number", &FitReport::condition_number,
                    "Condition number of the scaled columns, inliers only.")
      .def_property_readonly("at_bound", &names_at_bound,
                             "Names of the coefficients that ended at 0.")
      .def("__repr__", &repr);

  module.def(
      "fit_latency_model",
      [](const std::vector<Sample>& samples) {
        return fit_latency_model(to_measured_steps(samples));
      },
      py::arg("samples"),
      R"(Fit a latency model to measured steps: least squares on relative errors, non-negative,
robust against outliers.

samples: [(chunks, latency_ms), ...] with chunks [(num_tokens, num_computed_tokens), ...]; at
least 8, of several chunk sizes (three or more, if alone in their steps) and histories.
Raises InvalidArgument for a sample without tokens, with negative ones, or with a latency_ms that
is not finite and > 0; FitRefused, with its `reason`, when the samples do not carry a model.)");
}

}  // namespace cpp_chunk::bindings
