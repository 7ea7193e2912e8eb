// Threads, instruction sets, version.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>

#include "module.h"
#include "nnext/dispatch.h"
#include "nnext/memory.h"
#include "nnext/threads.h"

namespace nnext::bindings {
namespace {

namespace py = pybind11;

std::string compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "gcc " __VERSION__;
#endif
}

py::dict config() {
  py::dict result;
  result["version"] = NNEXT_VERSION;
  result["compiler"] = compiler();
  result["isa"] = isa_in_use();
  result["isa_available"] = isas_available();
  result["isa_compiled"] = isas_compiled();
  result["threads"] = num_threads();
  result["cached_bytes"] = cached_bytes();
  return result;
}

void set_threads(py::handle n) {
  if (PyBool_Check(n.ptr()) || !PyIndex_Check(n.ptr())) {
    throw py::type_error(std::string("n: expected a whole number of threads, got ") +
                         Py_TYPE(n.ptr())->tp_name);
  }
  const Py_ssize_t count = PyNumber_AsSsize_t(n.ptr(), nullptr);
  if (count == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set();
  if (count < 1) {
    throw py::value_error("n: expected at least 1 thread, got " + std::to_string(count));
  }
  set_num_threads(static_cast<int>(std::min<Py_ssize_t>(count, 1 << 20)));
}

}  // namespace

void bind_config(py::module_& module) {
  module.attr("__distribution__") = NNEXT_DISTRIBUTION;
  module.attr("__version__") = NNEXT_VERSION;
  module.def("set_num_threads", &set_threads, py::arg("n"));
  module.def("get_num_threads", &num_threads);
  module.def("config", &config);
  module.def("empty_cache", &empty_cache);
}

}  // namespace nnext::bindings
