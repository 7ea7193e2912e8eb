// Threads, instruction sets, caches, version.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>

#include "module.h"
#include "nnext/caches.h"
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

py::dict level(int number, const Cache& cache) {
  py::dict result;
  result["level"] = number;
  result["size"] = cache.size;
  result["ways"] = cache.ways;
  result["line"] = cache.line;
  return result;
}

// Those that are there, the one nearest to the core first.
py::list levels(const Caches& found) {
  py::list result;
  result.append(level(1, found.l1));
  result.append(level(2, found.l2));
  if (found.l3.size != 0) {
    py::dict third = level(3, found.l3);
    third["cpus"] = found.l3_cpus;
    result.append(third);
  }
  return result;
}

py::dict config() {
  py::dict result;
  result["version"] = NNEXT_VERSION;
  result["compiler"] = compiler();
  result["isa"] = isa_in_use();
  result["isa_available"] = isas_available();
  result["isa_compiled"] = isas_compiled();
  result["caches"] = levels(caches());
  result["cpus"] = available_cpus();
  result["threads"] = num_threads();
  result["cached_bytes"] = cached_bytes();
  return result;
}

void set_threads(py::handle n) {
  if (PyBool_Check(n.ptr()) || !PyIndex_Check(n.ptr())) {
    throw py::type_error(std::string("n: expected a whole number of threads, got ") +
                         Py_TYPE(n.ptr())->tp_name);
  }
  // Without an exception to raise, a number beyond Py_ssize_t comes as the nearest one within.
  const Py_ssize_t count = PyNumber_AsSsize_t(n.ptr(), nullptr);
  if (count == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set();
  if (count < 1 || count > kMaxThreads) {
    const bool clipped = count == PY_SSIZE_T_MAX || count == PY_SSIZE_T_MIN;
    throw py::value_error("n: expected 1 to " + std::to_string(kMaxThreads) + " threads, got " +
                          (clipped ? "a number of 64 bits or more" : std::to_string(count)));
  }
  set_num_threads(static_cast<int>(count));
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
