// The border between Python and the core: turns Python objects into checked operands.
//
// Order of every binding: take the arguments as plain objects, check all of them, allocate the
// result, release the GIL if the work is worth it, call the core. Nothing is written before the
// last check has passed. The core holds raw pointers while the GIL is released; the arguments of
// the call keep their arrays alive.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "nnext/types.h"

namespace nnext::bindings {

namespace py = pybind11;

// The type a call computes in, and what its result is stored as.
struct ComputeType {
  bool is_double = false;
  py::object half;  // float16 or bfloat16 when the result is rounded to it, else null
};

// An argument: its name in error messages and its array.
struct Argument {
  const char* name;
  py::array array;
};

// Any array-like as an array. Raises what numpy.asarray raises.
Argument argument(const char* name, py::handle object);

// float64 if any argument is, else float32, else a half type, else (integers and booleans alone)
// float64. Integers and booleans do not count beside a floating type. Raises TypeError for complex,
// object, string and other types.
ComputeType compute_type(std::initializer_list<const Argument*> arguments);

// The type computed in when all arrays have one of the core's own types, as they lie in memory;
// nothing when any would have to be converted.
std::optional<ComputeType> common_float_type(std::initializer_list<const py::array*> arrays);

// The array in the type computed in, aligned and in native byte order; itself where it is already.
py::array operand(const Argument& argument, const ComputeType& type);

// The same, C-contiguous.
py::array contiguous_operand(const Argument& argument, const ComputeType& type);

// The array itself where it is C-contiguous, else a copy that is.
py::array contiguous(const py::array& array);

// A new uninitialised C-contiguous array of the type computed in, or of another type.
py::array new_array(const ComputeType& type, py::ssize_t ndim, const py::ssize_t* shape);
py::array new_array(const py::dtype& dtype, py::ssize_t ndim, const py::ssize_t* shape);
inline py::array new_like(const ComputeType& type, const py::array& array) {
  return new_array(type, array.ndim(), array.shape());
}

// The result as the caller gets it: rounded to the half type where there is one.
py::array finished(py::array result, const ComputeType& type);

// An array of the caller that a call overwrites. Checked when made; `commit` writes back whatever
// had to be computed elsewhere (another type, a layout the core cannot write, an overlap).
class Target {
 public:
  // Raises TypeError for a wrong type, ValueError for a wrong shape or a read-only array.
  Target(const char* name, py::handle object, const std::vector<py::ssize_t>& shape);

  // Chooses where the core writes: in place if the array has the type computed in, a layout that
  // `fits`, and shares no memory with `inputs`; else in a new C-contiguous array. Not a check.
  void prepare(const ComputeType& type, bool fits, std::initializer_list<const py::array*> inputs);

  // Where the core writes.
  py::array& array() { return work_; }
  const py::array& original() const { return original_; }
  void commit(const ComputeType& type);

  // Raises ValueError if the two share memory, of which one would be written over.
  void require_apart(const Target& other) const;

 private:
  const char* name_;
  py::array original_;
  py::array work_;
};

// Labels as class indices in [0, classes), a new int64 array of shape `shape`; -1 where a label is
// `ignored`. `t` holds integers, one for each row, or rows of `classes` elements (one-hot). Raises
// IndexError for a label out of range.
py::array class_indices(py::handle t, const std::vector<py::ssize_t>& shape, py::ssize_t classes,
                        std::optional<std::int64_t> ignored = {});

// Indices of any shape as a C-contiguous int64 array, each in [0, limit). Raises TypeError for
// types other than integers, IndexError for one out of range (`what` they are and `of` how many).
py::array checked_indices(const Argument& index, py::ssize_t limit, const char* what,
                          const char* of);

// "(2, 3)"
std::string shape_text(const py::array& array);
std::string shape_text(const std::vector<py::ssize_t>& shape);

inline std::vector<py::ssize_t> shape_of(const py::array& array) {
  return {array.shape(), array.shape() + array.ndim()};
}
bool same_shape(const py::array& a, const py::array& b);
void require_same_shape(const Argument& a, const Argument& b);
void require_axis(const Argument& a);  // ValueError for an array without dimensions

// A Python number as double; TypeError that names the argument if it is none, and OverflowError and
// the like as Python raises them.
double number(const char* name, py::handle object);

// Whether all arrays are C-contiguous, or all Fortran-contiguous: same element at the same offset.
bool same_flat_layout(const std::vector<const py::array*>& arrays);

// What bool(object) is; the errors are Python's own.
bool truth(py::handle object);

// Whether the memory extents of the two arrays meet.
bool may_overlap(const py::array& a, const py::array& b);

// A 2-D array as the core sees it. Strides must be whole elements (operand() sees to that).
template <class T>
MatrixView<T> matrix_view(const py::array& array) {
  constexpr py::ssize_t kSize = sizeof(T);
  return {static_cast<T*>(const_cast<void*>(array.data())), array.shape(0), array.shape(1),
          array.strides(0) / kSize, array.strides(1) / kSize};
}

template <class T>
const T* input(const py::array& array) {
  return static_cast<const T*>(array.data());
}
template <class T>
T* output(py::array& array) {
  return static_cast<T*>(const_cast<void*>(array.data()));
}

// Calls f(float{}) or f(double{}).
template <class F>
auto with_type(const ComputeType& type, const F& f) {
  return type.is_double ? f(double{}) : f(float{});
}

// Takes the GIL back; does not return to a thread that finds the interpreter at its end.
void take_gil(PyThreadState* state) noexcept;

// Releases the GIL for its lifetime when the work (element operations, roughly) lasts longer than
// letting go and taking back: about 0.1 us, against some 10 us for this many.
class MaybeReleaseGil {
 public:
  explicit MaybeReleaseGil(double work) {
    if (work > 20000) state_ = PyEval_SaveThread();
  }
  MaybeReleaseGil(const MaybeReleaseGil&) = delete;
  MaybeReleaseGil& operator=(const MaybeReleaseGil&) = delete;
  ~MaybeReleaseGil() {
    if (state_ != nullptr) take_gil(state_);
  }

 private:
  PyThreadState* state_ = nullptr;
};

}  // namespace nnext::bindings
