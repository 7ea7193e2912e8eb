// The fully connected layer: y = x W + b and its gradients.
#include "linear.h"
#include "module.h"
#include "nnext/matmul.h"
#include "nnext/reduce.h"

namespace nnext::bindings {
namespace {

std::vector<py::ssize_t> with_last(const py::array& x, py::ssize_t last) {
  std::vector<py::ssize_t> shape = shape_of(x);
  shape.back() = last;
  return shape;
}

py::array forward(py::handle x_object, py::handle w_object, py::handle b_object) {
  const Argument x = argument("x", x_object);
  const Argument w = weights(w_object);
  require_last_axis(x, w, 0);
  const py::ssize_t width = w.array.shape(1);
  const std::optional<Argument> b = bias(b_object, w);
  const ComputeType type = b ? compute_type({&x, &w, &*b}) : compute_type({&x, &w});
  const Rows rows(x, type);
  const py::array w_array = operand(w, type);
  const py::array b_array = b ? contiguous_operand(*b, type) : py::array();
  const std::vector<py::ssize_t> shape = with_last(rows.array, width);
  py::array y = new_array(type, rows.array.ndim(), shape.data());
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const MatrixView<T> result{output<T>(y), rows.rows, width, width, 1};
    const MaybeReleaseGil release(flops(rows.rows, rows.cols, width));
    matmul<T>(rows.view<T>(), matrix_view<const T>(w_array), result,
              b ? input<T>(b_array) : nullptr);
  });
  return finished(y, type);
}

py::object backward(py::handle x_object, py::handle w_object, py::handle dout_object,
                    py::handle dw_object, py::handle db_object, py::handle input_grad) {
  const Argument x = argument("x", x_object);
  const Argument w = weights(w_object);
  const Argument dout = argument("dout", dout_object);
  require_last_axis(x, w, 0);
  const py::ssize_t width = w.array.shape(1);
  if (shape_of(dout.array) != with_last(x.array, width)) {
    throw py::value_error("dout: expected shape " + shape_text(with_last(x.array, width)) +
                          ", that of the output, got " + shape_text(dout.array));
  }
  Target dw("dW", dw_object, shape_of(w.array));
  std::optional<Target> db;
  if (!db_object.is_none()) db.emplace("db", db_object, std::vector<py::ssize_t>{width});
  if (db) db->require_apart(dw);
  const bool needs_dx = truth(input_grad);

  const ComputeType type = compute_type({&x, &w, &dout});
  const Rows x_rows(x, type);
  const Rows d_rows(dout, type);
  const py::array w_array = operand(w, type);
  dw.prepare(type, is_writable_layout(dw.original()), {&x_rows.array, &d_rows.array, &w_array});
  const py::array d_contiguous = db ? contiguous_operand(dout, type) : py::array();
  if (db) {
    db->prepare(type, same_flat_layout({&db->original()}),
                {&x_rows.array, &d_rows.array, &w_array});
  }
  py::array dx;
  if (needs_dx) dx = new_like(type, x_rows.array);
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(flops(x_rows.rows, x_rows.cols, width));
    const MatrixView<const T> d = d_rows.view<T>();
    matmul<T>(x_rows.view<T>().transposed(), d, matrix_view<T>(dw.array()));
    if (db) sum_rows<T>(input<T>(d_contiguous), width, output<T>(db->array()), d.rows, width);
    if (needs_dx) {
      const MatrixView<T> result{output<T>(dx), x_rows.rows, x_rows.cols, x_rows.cols, 1};
      matmul<T>(d, matrix_view<const T>(w_array).transposed(), result);
    }
  });
  dw.commit(type);
  if (db) db->commit(type);
  return needs_dx ? py::object(finished(dx, type)) : py::object(py::none());
}

}  // namespace

void bind_affine(py::module_& module) {
  module.def("affine_forward", &forward, py::arg("x"), py::arg("W"), py::arg("b").none(true));
  module.def("affine_backward", &backward, py::arg("x"), py::arg("W"), py::arg("dout"),
             py::arg("dW"), py::arg("db").none(true), py::arg("input_grad"));
}

}  // namespace nnext::bindings
