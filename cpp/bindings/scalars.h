// Arguments that are numbers. Each may run Python code of the caller (`__float__`, `__index__`,
// `__bool__`); errors other than a wrong type are that code's own.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <string>

namespace nnext::bindings {

namespace py = pybind11;

// A Python number as double; TypeError that names the argument if it is none.
double number(const char* name, py::handle object);

// What bool(object) is.
bool truth(py::handle object);

// Any whole number; TypeError that names the argument for another type and for booleans, ValueError
// for one that does not fit 64 bits.
std::int64_t whole_number(const char* name, py::handle object);

// A number for messages, in as few digits as tell it from its neighbours of type T (6 at least).
template <class T>
std::string number_text(T value);

// The low 64 bits of a whole number of any size: a seed.
std::uint64_t low_bits(const char* name, py::handle object);

}  // namespace nnext::bindings
