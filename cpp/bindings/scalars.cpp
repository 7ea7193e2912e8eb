// Arguments that are numbers; see scalars.h.
#include "scalars.h"

#include <pybind11/numpy.h>

#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>

namespace nnext::bindings {
namespace {

// True and False, NumPy's too, which 2.0 and 2.1 take for an index, with a warning.
bool is_bool(py::handle object) {
  return PyBool_Check(object.ptr()) != 0 ||
         std::strcmp(Py_TYPE(object.ptr())->tp_name, "numpy.bool") == 0;
}

// An array with axes, which older NumPys take for a number where it has one element.
bool has_axes(py::handle object) {
  return py::isinstance<py::array>(object) && py::reinterpret_borrow<py::array>(object).ndim() > 0;
}

py::object index_of(const char* name, py::handle object) {
  if (!is_bool(object) && !has_axes(object) && PyIndex_Check(object.ptr())) {
    auto index = py::reinterpret_steal<py::object>(PyNumber_Index(object.ptr()));
    if (index) return index;
    // As an array answers that is no integer scalar.
    if (PyErr_ExceptionMatches(PyExc_TypeError) == 0) throw py::error_already_set();
    PyErr_Clear();
  }
  throw py::type_error(std::string(name) + ": expected a whole number, got " +
                       Py_TYPE(object.ptr())->tp_name);
}

}  // namespace

double number(const char* name, py::handle object) {
  if (has_axes(object)) {
    throw py::type_error(std::string(name) + ": expected a number, got " +
                         Py_TYPE(object.ptr())->tp_name);
  }
  const double value = PyFloat_AsDouble(object.ptr());
  if (value == -1.0 && PyErr_Occurred() != nullptr) {
    const bool too_large = PyErr_ExceptionMatches(PyExc_OverflowError) != 0;
    if (!too_large && PyErr_ExceptionMatches(PyExc_TypeError) == 0) throw py::error_already_set();
    PyErr_Clear();
    if (too_large) {
      throw py::value_error(std::string(name) + ": expected a number of 64 bits, got a larger one");
    }
    throw py::type_error(std::string(name) + ": expected a number, got " +
                         Py_TYPE(object.ptr())->tp_name);
  }
  return value;
}

bool truth(py::handle object) {
  const int result = PyObject_IsTrue(object.ptr());
  if (result < 0) throw py::error_already_set();
  return result != 0;
}

std::int64_t whole_number(const char* name, py::handle object) {
  const py::object index = index_of(name, object);
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (overflow != 0) {
    throw py::value_error(std::string(name) + ": expected a number of 64 bits, got " +
                          py::str(index).cast<std::string>());
  }
  return value;
}

template <class T>
std::string number_text(T value) {
  std::string text;
  for (int digits = 6; digits <= std::numeric_limits<T>::max_digits10; ++digits) {
    const std::unique_ptr<char, void (*)(void*)> written(
        PyOS_double_to_string(static_cast<double>(value), 'g', digits, Py_DTSF_ADD_DOT_0, nullptr),
        &PyMem_Free);
    if (!written) throw py::error_already_set();
    text = written.get();
    if (static_cast<T>(PyOS_string_to_double(text.c_str(), nullptr, nullptr)) == value) break;
  }
  return text;
}

template std::string number_text<float>(float);
template std::string number_text<double>(double);

std::uint64_t low_bits(const char* name, py::handle object) {
  const std::uint64_t value = PyLong_AsUnsignedLongLongMask(index_of(name, object).ptr());
  if (PyErr_Occurred() != nullptr) throw py::error_already_set();
  return value;
}

}  // namespace nnext::bindings
