#include "cpp_chunk/error.h"

#include <exception>
#include <string>

#include "bindings/bindings.h"

namespace py = pybind11;

namespace cpp_chunk::bindings {
namespace {

// Borrowed for ever: translators run until the interpreter ends, and hold plain pointers.
struct ErrorTypes {
  PyObject* error = nullptr;
  PyObject* invalid_argument = nullptr;
  PyObject* fit_refused = nullptr;
};

ErrorTypes& error_types() {
  static ErrorTypes types;
  return types;
}

PyObject* make_type(py::module_& module, const char* name, const char* doc, const py::object& bases,
                    const py::dict& attributes = {}) {
  const std::string qualified = "cpp_chunk._core." + std::string(name);
  PyObject* const type =
      PyErr_NewExceptionWithDoc(qualified.c_str(), doc, bases.ptr(), attributes.ptr());
  if (type == nullptr) {
    throw py::error_already_set();
  }
  module.add_object(name, py::reinterpret_borrow<py::object>(type));
  return type;
}

void translate(std::exception_ptr pointer) {
  try {
    std::rethrow_exception(pointer);
  } catch (const FitRefused& refused) {
    const auto type = py::reinterpret_borrow<py::object>(error_types().fit_refused);
    py::object value = type(refused.what());
    value.attr("reason") = std::string(reason_name(refused.reason()));
    PyErr_SetObject(type.ptr(), value.ptr());
  } catch (const InvalidArgument& invalid) {
    const auto type = py::reinterpret_borrow<py::object>(error_types().invalid_argument);
    py::object value = type(invalid.what());
    value.attr("field") = invalid.field();
    value.attr("value") = invalid.value();
    PyErr_SetObject(type.ptr(), value.ptr());
  } catch (const Error& error) {
    PyErr_SetString(error_types().error, error.what());
  }
}

}  // namespace

void bind_error(py::module_& module) {
  ErrorTypes& types = error_types();
  const auto value_error = py::reinterpret_borrow<py::object>(PyExc_ValueError);
  types.error = make_type(module, "Error", "Root of every error of cpp_chunk.",
                          py::reinterpret_borrow<py::object>(PyExc_Exception));
  const auto error = py::reinterpret_borrow<py::object>(types.error);
  const py::tuple bases = py::make_tuple(error, value_error);
  types.invalid_argument = make_type(
      module, "InvalidArgument",
      "An argument is outside of what its function documents. `field` is its name, `value` what it "
      "was, as the message shows it.",
      bases, py::dict(py::arg("field") = "", py::arg("value") = ""));
  types.fit_refused = make_type(
      module, "FitRefused",
      "The measured steps do not carry a latency model. `reason` is one of too_few_points, "
      "single_chunk_size, no_history, rank_deficient, bad_residual.",
      bases, py::dict(py::arg("reason") = ""));
  py::register_local_exception_translator(&translate);
}

}  // namespace cpp_chunk::bindings
