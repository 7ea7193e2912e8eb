// The operands of a linear layer; see linear.h.
#include "linear.h"

#include <cstdlib>

#include "gil.h"
#include "nnext/matmul.h"

namespace nnext::bindings {
namespace {

py::ssize_t rows_of(const View& x) {
  py::ssize_t rows = 1;
  for (py::ssize_t i = 0; i + 1 < x.ndim(); ++i) rows *= x.shape(i);
  return rows;
}

}  // namespace

LinearArguments::LinearArguments(py::handle x_object, py::handle w_object, py::handle b_object)
    : x(argument("x", x_object)),
      w(argument("W", w_object)),
      b(b_object.is_none() ? View() : argument("b", b_object)),
      has_bias(!b_object.is_none()),
      type(has_bias ? compute_type({&x, &w, &b}) : compute_type({&x, &w})) {
  if (w.ndim() != 2) {
    throw py::value_error("W: expected a matrix (D, H), got shape " + shape_text(w));
  }
  if (has_bias && (b.ndim() != 1 || b.shape(0) != width())) {
    throw py::value_error("b: expected shape (" + std::to_string(width()) + ",), got " +
                          shape_text(b) + " with W of shape " + shape_text(w));
  }
  require_axis(x);
  if (x.shape(x.ndim() - 1) != w.shape(0)) {
    throw py::value_error("x: expected the last dimension to be " + std::to_string(w.shape(0)) +
                          ", got shape " + shape_text(x) + " with W of shape " + shape_text(w));
  }
}

Shape LinearArguments::output_shape() const {
  Shape shape = shape_of(x);
  shape.back() = width();
  return shape;
}

Rows::Rows(const View& x, const ComputeType& type)
    : array(x.ndim() == 2 ? operand(x, type) : contiguous_operand(x, type)),
      rows(rows_of(array)),
      cols(array.shape(array.ndim() - 1)) {}

View linear_output(const LinearArguments& in) {
  const Rows rows(in.x, in.type);
  const View w = operand(in.w, in.type);
  const View b = in.has_bias ? contiguous_operand(in.b, in.type) : View();
  const View y = new_array(in.type, in.output_shape());
  with_type(in.type, [&](auto zero) {
    using T = decltype(zero);
    const MatrixView<T> result{output<T>(y), rows.rows, in.width(), in.width(), 1};
    const MaybeReleaseGil release(flops(rows.rows, rows.cols, in.width()));
    matmul<T>(rows.view<T>(), matrix_view<const T>(w), result, in.has_bias ? input<T>(b) : nullptr);
  });
  return y;
}

double flops(py::ssize_t m, py::ssize_t k, py::ssize_t n) {
  return 2.0 * static_cast<double>(m) * static_cast<double>(k) * static_cast<double>(n);
}

bool is_writable_layout(const View& array) {
  const auto lie_apart = [&](int axis, int other) {
    return array.strides(axis) == array.itemsize() &&
           (array.shape(other) <= 1 ||
            std::abs(array.strides(other)) >= array.shape(axis) * array.itemsize());
  };
  return array.size() == 0 || lie_apart(1, 0) || lie_apart(0, 1);
}

}  // namespace nnext::bindings
