// Arrays that a call overwrites; see target.h.
#include "target.h"

#include <cstring>

namespace nnext::bindings {
namespace {

// Copies the elements of a C-contiguous array to one of the same shape and type but any strides.
// Nothing here can fail: it comes after the point of no return.
void copy_bytes(const char* from, const View& to) noexcept {
  const py::ssize_t size = to.itemsize();
  const py::ssize_t ndim = to.ndim();
  if (to.size() == 0) return;
  if (to.is_c_contiguous()) {
    std::memcpy(to.data(), from, static_cast<std::size_t>(to.size() * size));
    return;
  }
  const py::ssize_t last = to.shape(ndim - 1);  // one without axes is contiguous
  const py::ssize_t step = to.strides(ndim - 1);
  py::ssize_t at[Layout::kMostAxes] = {};
  char* row = to.data();
  for (;;) {
    for (py::ssize_t i = 0; i < last; ++i, from += size) {
      std::memcpy(row + i * step, from, static_cast<std::size_t>(size));
    }
    py::ssize_t axis = ndim - 2;
    for (; axis >= 0; --axis) {
      row += to.strides(axis);
      if (++at[axis] < to.shape(axis)) break;
      row -= at[axis] * to.strides(axis);
      at[axis] = 0;
    }
    if (axis < 0) return;
  }
}

}  // namespace

Target::Target(const char* name, py::handle object) {
  if (!py::detail::npy_api::get().PyArray_Check_(object.ptr())) {
    throw py::type_error(std::string(name) + ": expected an array to write into, got " +
                         Py_TYPE(object.ptr())->tp_name);
  }
  original_ = View(name, object);
  const Kind kind = original_.kind();
  if (kind != Kind::kFloat32 && kind != Kind::kFloat64 && kind != Kind::kHalf) {
    throw py::type_error(std::string(name) + ": expected a floating type to write into, got " +
                         original_.dtype_text());
  }
  if (!original_.is_writeable()) {
    throw py::value_error(std::string(name) + ": the array is read-only");
  }
}

Target::Target(const char* name, py::handle object, const Shape& shape) : Target(name, object) {
  if (shape_of(original_) != shape) {
    throw py::value_error(std::string(name) + ": expected shape " + shape_text(shape) + ", got " +
                          shape_text(original_));
  }
}

bool Target::needs_conversion(const ComputeType& type) const {
  return original_.kind() != (type.is_double ? Kind::kFloat64 : Kind::kFloat32) ||
         !original_.has_native_order();
}

void Target::prepare(const ComputeType& type, bool fits, bool may_be_in_place,
                     std::span<const View* const> inputs, SumInto into) {
  bool in_place = fits && may_be_in_place && original_.is_native() && !needs_conversion(type);
  for (const View* input : inputs) in_place = in_place && !may_overlap(original_, *input);
  if (in_place) {
    work_ = original_;
  } else if (into == SumInto::kOverwrite) {
    work_ = new_like(type, original_);
  } else {
    work_ = converted(original_, float_type(type.is_double));
  }
  half_ = type.half;
}

void Target::prepare_update(const ComputeType& type, bool in_place) {
  work_ = in_place ? original_ : converted(original_, float_type(type.is_double));
}

void Target::convert() {
  if (work_.data() == original_.data()) return;
  if (half_) work_ = converted(work_, py::reinterpret_borrow<py::dtype>(half_));
  if (!work_.dtype().equal(original_.dtype())) work_ = converted(work_, original_.dtype());
}

void Target::write() const noexcept {
  if (work_.data() != original_.data()) copy_bytes(work_.data(), original_);
}

void Target::put_back(const View& copy) const noexcept { copy_bytes(copy.data(), original_); }

void Target::require_apart(const Target& other) const {
  // Extents may interleave, as those of two columns do, and share nothing.
  if (may_overlap(original_, other.original_) &&
      py::module_::import("numpy")
          .attr("shares_memory")(original_.private_array(), other.original_.private_array())
          .cast<bool>()) {
    throw py::value_error(std::string(original_.name()) + " and " + other.original_.name() +
                          " share memory");
  }
}

void commit(std::span<Target* const> targets) {
  for (Target* const target : targets) {
    if (target != nullptr) target->convert();
  }
  for (Target* const target : targets) {
    if (target != nullptr) target->write();
  }
}

bool may_write_in_place(std::initializer_list<const Target*> targets, const ComputeType& type) {
  if (type.half) return false;  // results are rounded after the core
  for (const Target* target : targets) {
    if (target != nullptr && target->needs_conversion(type)) return false;
  }
  return true;
}

}  // namespace nnext::bindings
