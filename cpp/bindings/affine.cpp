// The fully connected layer: y = x W + b and its gradients.
#include <optional>

#include "gil.h"
#include "linear.h"
#include "module.h"
#include "nnext/matmul.h"
#include "nnext/reduce.h"
#include "scalars.h"
#include "target.h"

namespace nnext::bindings {
namespace {

py::array forward(py::handle x, py::handle w, py::handle b) {
  const LinearArguments in(x, w, b);
  return finished(linear_output(in), in.type);
}

py::object backward(py::handle x_object, py::handle w_object, py::handle dout_object,
                    py::handle dw_object, py::handle db_object, py::handle input_grad,
                    py::handle accumulate) {
  const LinearArguments in(x_object, w_object, py::none());
  const View dout = argument("dout", dout_object);
  const py::ssize_t width = in.width();
  if (shape_of(dout) != in.output_shape()) {
    throw py::value_error("dout: expected shape " + shape_text(in.output_shape()) +
                          ", that of the output, got " + shape_text(dout));
  }
  Target dw("dW", dw_object, shape_of(in.w));
  std::optional<Target> db;
  if (!db_object.is_none()) db.emplace("db", db_object, Shape{width});
  Target* const db_target = db ? &*db : nullptr;
  if (db) db->require_apart(dw);
  const bool needs_dx = truth(input_grad);
  const SumInto into = sum_into(accumulate);

  const ComputeType type = compute_type({&in.x, &in.w, &dout});
  const Rows x_rows(in.x, type);
  const Rows d_rows(dout, type);
  const View w_array = operand(in.w, type);
  const View d_contiguous = db ? contiguous_operand(dout, type) : View();
  const bool in_place = may_write_in_place({&dw, db_target}, type);
  const auto inputs = {&x_rows.array, &d_rows.array, &w_array};
  dw.prepare(type, is_writable_layout(dw.original()), in_place, inputs, into);
  if (db) db->prepare(type, db->original().is_c_contiguous(), in_place, inputs, into);
  const View dx = needs_dx ? new_like(type, x_rows.array) : View();
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(flops(x_rows.rows, x_rows.cols, width));
    const MatrixView<const T> d = d_rows.view<T>();
    matmul<T>(x_rows.view<T>().transposed(), d, matrix_view<T>(dw.array()), nullptr, into);
    if (db) sum_rows<T>(input<T>(d_contiguous), width, output<T>(db->array()), d.rows, width, into);
    if (needs_dx) {
      const MatrixView<T> result{output<T>(dx), x_rows.rows, x_rows.cols, x_rows.cols, 1};
      matmul<T>(d, matrix_view<const T>(w_array).transposed(), result);
    }
  });
  py::object result = py::none();
  if (needs_dx) result = finished(dx, type);
  commit({&dw, db_target});
  return result;
}

}  // namespace

void bind_affine(py::module_& module) {
  module.def("affine_forward", &forward, py::arg("x"), py::arg("W"), py::arg("b").none(true));
  module.def("affine_backward", &backward, py::arg("x"), py::arg("W"), py::arg("dout"),
             py::arg("dW"), py::arg("db").none(true), py::arg("input_grad"),
             py::arg("accumulate") = false);
}

}  // namespace nnext::bindings
