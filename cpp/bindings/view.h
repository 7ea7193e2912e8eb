// The border between Python and the core: array arguments as they were when the call began.
//
// Order of every binding: look at all arrays (View), convert what must be converted, check all of
// it, allocate the results and whatever else may fail, release the GIL if the work is worth it,
// call the core, hand over. Python code that runs on the way (`__array__`, `__float__`, a hook of
// warnings) and other threads may reshape, retype or drop the arrays that were passed: a View does
// not notice, and keeps their memory. It is made of plain numbers, so the core's side of the border
// touches nothing of Python, not even a type's reference count. Views are copied with the GIL held.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "nnext/types.h"

namespace nnext::bindings {

namespace py = pybind11;

using Shape = std::vector<py::ssize_t>;

enum class Kind { kFloat32, kFloat64, kHalf, kInteger, kBool, kOther };

// Shape and strides (in bytes) of an array.
class Layout {
 public:
  static constexpr int kMostAxes = 64;  // NumPy's limit

  Layout() = default;
  Layout(int axes, const py::ssize_t* shape, const py::ssize_t* strides) : ndim(axes) {
    std::copy_n(shape, axes, shape_);
    std::copy_n(strides, axes, strides_);
  }
  Layout(const Layout& other) : Layout(other.ndim, other.shape_, other.strides_) {}
  Layout& operator=(const Layout& other) {
    if (this == &other) return *this;
    ndim = other.ndim;
    std::copy_n(other.shape_, ndim, shape_);
    std::copy_n(other.strides_, ndim, strides_);
    return *this;
  }
  ~Layout() = default;

  int ndim = 0;
  const py::ssize_t* shape() const { return shape_; }
  const py::ssize_t* strides() const { return strides_; }

 private:
  py::ssize_t shape_[kMostAxes];  // the first ndim of them
  py::ssize_t strides_[kMostAxes];
};

class View {
 public:
  View() = default;  // of nothing: empty, without axes

  // `array` is an ndarray or a subclass's; `name` is the argument's in error messages. TypeError
  // for a numpy.ma.MaskedArray of which something is masked.
  View(const char* name, py::handle array);

  const char* name() const { return name_; }
  py::ssize_t ndim() const { return layout_.ndim; }
  const py::ssize_t* shape() const { return layout_.shape(); }
  py::ssize_t shape(py::ssize_t axis) const { return layout_.shape()[axis]; }
  py::ssize_t strides(py::ssize_t axis) const { return layout_.strides()[axis]; }
  py::ssize_t size() const { return size_; }
  py::ssize_t itemsize() const { return itemsize_; }
  char* data() const { return data_; }
  Kind kind() const { return kind_; }
  bool is_unsigned() const;

  bool is_c_contiguous() const { return (flags_ & py::array::c_style) != 0; }
  bool is_f_contiguous() const { return (flags_ & py::array::f_style) != 0; }
  bool is_writeable() const { return (flags_ & py::detail::npy_api::NPY_ARRAY_WRITEABLE_) != 0; }
  // Whether the core can read it where it lies: native byte order, aligned, in whole elements.
  bool is_native() const { return is_native_; }
  bool has_native_order() const { return has_native_order_; }

  // The array that was passed or made.
  const py::object& owner() const { return owner_; }
  py::dtype dtype() const { return py::reinterpret_borrow<py::dtype>(dtype_); }
  std::string dtype_text() const { return py::str(dtype_).cast<std::string>(); }
  // A base-class array of this memory and layout that nobody else knows, to hand to NumPy.
  py::array private_array() const;

 private:
  const char* name_ = "";
  py::object owner_;
  py::object dtype_;
  char* data_ = nullptr;
  Layout layout_;
  py::ssize_t size_ = 0;
  py::ssize_t itemsize_ = 1;
  int flags_ = 0;
  int type_number_ = 0;
  Kind kind_ = Kind::kOther;
  bool is_native_ = false;
  bool has_native_order_ = false;
};

// Any array-like as a View. Raises what numpy.asarray raises (its ValueError for rows of unequal
// lengths with the argument's name), TypeError for None and for sparse matrices, which NumPy would
// take for one object.
View argument(const char* name, py::handle object);

// The type a call computes in, and what its result is stored as.
struct ComputeType {
  bool is_double = false;
  py::object half;  // float16 or bfloat16 when the result is rounded to it, else null
};

// float64 if any argument is, else float32, else a half type, else (integers and booleans alone)
// float64. Integers and booleans do not count beside a floating type. Raises TypeError for complex,
// object, string and other types.
ComputeType compute_type(std::initializer_list<const View*> arguments);

// The type computed in when all arrays have one of the core's own types, as they lie in memory;
// nothing when any would have to be converted.
std::optional<ComputeType> common_float_type(std::initializer_list<const View*> arrays);

// The array in the type computed in, aligned and in native byte order; itself where it is already.
View operand(const View& array, const ComputeType& type);

// The same, C-contiguous.
View contiguous_operand(const View& array, const ComputeType& type);

// The array itself where it is C-contiguous, else a copy that is.
View contiguous(const View& array);

// A C-contiguous copy in another type.
View converted(const View& array, const py::dtype& dtype);

// A new uninitialised C-contiguous array of the type computed in, or of another type. Raises
// MemoryError that names the size.
View new_array(const ComputeType& type, py::ssize_t ndim, const py::ssize_t* shape);
View new_array(const py::dtype& dtype, py::ssize_t ndim, const py::ssize_t* shape);
inline View new_array(const ComputeType& type, const Shape& shape) {
  return new_array(type, static_cast<py::ssize_t>(shape.size()), shape.data());
}
inline View new_array(const py::dtype& dtype, const Shape& shape) {
  return new_array(dtype, static_cast<py::ssize_t>(shape.size()), shape.data());
}
inline View new_like(const ComputeType& type, const View& array) {
  return new_array(type, array.ndim(), array.shape());
}
const py::dtype& int64_type();
const py::dtype& float_type(bool is_double);

// A new array as the caller gets it: rounded to the half type where there is one.
py::array finished(const View& result, const ComputeType& type);

// "(2, 3)"
std::string shape_text(const View& array);
std::string shape_text(const Shape& shape);

inline Shape shape_of(const View& array) { return {array.shape(), array.shape() + array.ndim()}; }
bool same_shape(const View& a, const View& b);
void require_same_shape(const View& a, const View& b);
void require_axis(const View& a);  // ValueError for an array without dimensions

// Whether all arrays are C-contiguous, or all Fortran-contiguous: same element at the same offset.
bool same_flat_layout(std::initializer_list<const View*> arrays);

// Whether the memory extents of the two arrays meet.
bool may_overlap(const View& a, const View& b);

// A 2-D array as the core sees it. Strides must be whole elements (operand() sees to that).
template <class T>
MatrixView<T> matrix_view(const View& array) {
  constexpr py::ssize_t kSize = sizeof(T);
  return {reinterpret_cast<T*>(array.data()), array.shape(0), array.shape(1),
          array.strides(0) / kSize, array.strides(1) / kSize};
}

template <class T>
const T* input(const View& array) {
  return reinterpret_cast<const T*>(array.data());
}
template <class T>
T* output(const View& array) {
  return reinterpret_cast<T*>(array.data());
}

// Calls f(float{}) or f(double{}).
template <class F>
auto with_type(const ComputeType& type, const F& f) {
  return type.is_double ? f(double{}) : f(float{});
}

}  // namespace nnext::bindings
