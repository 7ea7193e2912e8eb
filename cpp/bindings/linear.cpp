// The operands of a linear layer; see linear.h.
#include "linear.h"

#include <cstdlib>

namespace nnext::bindings {

Argument weights(py::handle object) {
  Argument w = argument("W", object);
  if (w.array.ndim() != 2) {
    throw py::value_error("W: expected a matrix (D, H), got shape " + shape_text(w.array));
  }
  return w;
}

std::optional<Argument> bias(py::handle object, const Argument& w) {
  if (object.is_none()) return {};
  const py::ssize_t width = w.array.shape(1);
  Argument b = argument("b", object);
  if (b.array.ndim() != 1 || b.array.shape(0) != width) {
    throw py::value_error("b: expected shape (" + std::to_string(width) + ",), got " +
                          shape_text(b.array) + " with W of shape " + shape_text(w.array));
  }
  return b;
}

void require_last_axis(const Argument& x, const Argument& w, int axis) {
  require_axis(x);
  const py::ssize_t got = x.array.shape(x.array.ndim() - 1);
  if (got == w.array.shape(axis)) return;
  throw py::value_error(std::string(x.name) + ": expected the last dimension to be " +
                        std::to_string(w.array.shape(axis)) + ", got shape " + shape_text(x.array) +
                        " with W of shape " + shape_text(w.array));
}

namespace {

py::ssize_t rows_of(const py::array& x) {
  py::ssize_t rows = 1;
  for (py::ssize_t i = 0; i + 1 < x.ndim(); ++i) rows *= x.shape(i);
  return rows;
}

}  // namespace

Rows::Rows(const Argument& x, const ComputeType& type)
    : array(x.array.ndim() == 2 ? operand(x, type) : contiguous_operand(x, type)),
      rows(rows_of(array)),
      cols(array.shape(array.ndim() - 1)) {}

double flops(py::ssize_t m, py::ssize_t k, py::ssize_t n) {
  return 2.0 * static_cast<double>(m) * static_cast<double>(k) * static_cast<double>(n);
}

bool is_writable_layout(const py::array& array) {
  const auto lie_apart = [&](int axis, int other) {
    return array.strides(axis) == array.itemsize() &&
           (array.shape(other) <= 1 ||
            std::abs(array.strides(other)) >= array.shape(axis) * array.itemsize());
  };
  return array.size() == 0 || lie_apart(1, 0) || lie_apart(0, 1);
}

}  // namespace nnext::bindings
