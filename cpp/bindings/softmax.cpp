// Softmax, cross-entropy and their gradients.
#include "nnext/softmax.h"

#include "arrays.h"
#include "module.h"

namespace nnext::bindings {
namespace {

constexpr double kExpWork = 4;  // an exponential in units of MaybeReleaseGil's element operations

py::ssize_t classes_of(const py::array& x) { return x.shape(x.ndim() - 1); }
py::ssize_t rows_of(const py::array& x, py::ssize_t classes) {
  py::ssize_t rows = 1;
  for (py::ssize_t i = 0; i + 1 < x.ndim(); ++i) rows *= x.shape(i);
  return classes == 0 ? 0 : rows;
}
std::vector<py::ssize_t> batch_shape(const py::array& x) {
  return {x.shape(), x.shape() + x.ndim() - 1};
}

double work_of(const py::array& x) { return kExpWork * static_cast<double>(x.size()); }

[[noreturn]] void raise_empty(const Argument& x) {
  throw py::value_error(std::string(x.name) +
                        ": expected at least 1 sample for a mean loss, got shape " +
                        shape_text(x.array));
}

py::array softmax_any(py::handle x_object) {
  const Argument x = argument("x", x_object);
  const ComputeType type = compute_type({&x});
  require_axis(x);
  const py::array values = contiguous_operand(x, type);
  py::array y = new_like(type, values);
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const py::ssize_t classes = classes_of(values);
    const MaybeReleaseGil release(work_of(values));
    softmax<T>(input<T>(values), output<T>(y), rows_of(values, classes), classes);
  });
  return finished(y, type);
}

py::array softmax_backward_any(py::handle y_object, py::handle dout_object) {
  const Argument y = argument("y", y_object);
  const Argument dout = argument("dout", dout_object);
  const ComputeType type = compute_type({&y, &dout});
  require_axis(y);
  require_same_shape(y, dout);
  const py::array values = contiguous_operand(y, type);
  const py::array gradient = contiguous_operand(dout, type);
  py::array dx = new_like(type, values);
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const py::ssize_t classes = classes_of(values);
    const MaybeReleaseGil release(static_cast<double>(values.size()));
    softmax_backward<T>(input<T>(values), input<T>(gradient), output<T>(dx),
                        rows_of(values, classes), classes);
  });
  return finished(dx, type);
}

double cross_entropy_any(py::handle y_object, py::handle t_object) {
  const Argument y = argument("y", y_object);
  const ComputeType type = compute_type({&y});
  require_axis(y);
  const py::ssize_t classes = classes_of(y.array);
  const py::array t = class_indices(t_object, batch_shape(y.array), classes);
  if (t.size() == 0) raise_empty(y);
  const py::array values = contiguous_operand(y, type);
  return with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(work_of(t));
    return cross_entropy_error<T>(input<T>(values), input<std::int64_t>(t), t.size(), classes);
  });
}

py::tuple softmax_loss_any(py::handle x_object, py::handle t_object) {
  const Argument x = argument("x", x_object);
  const ComputeType type = compute_type({&x});
  require_axis(x);
  const py::ssize_t classes = classes_of(x.array);
  const py::array t = class_indices(t_object, batch_shape(x.array), classes);
  if (t.size() == 0) raise_empty(x);
  const py::array values = contiguous_operand(x, type);
  py::array y = new_like(type, values);
  const double loss = with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(work_of(values));
    return softmax_loss<T>(input<T>(values), input<std::int64_t>(t), output<T>(y), t.size(),
                           classes);
  });
  return py::make_tuple(loss, finished(y, type), t);
}

py::array softmax_loss_backward_any(py::handle y_object, py::handle t_object,
                                    py::handle dout_object) {
  const Argument y = argument("y", y_object);
  const ComputeType type = compute_type({&y});
  require_axis(y);
  const py::ssize_t classes = classes_of(y.array);
  // Checked again: both are attributes of a layer, which its user may have replaced.
  const py::array t = class_indices(t_object, batch_shape(y.array), classes);
  if (t.size() == 0) raise_empty(y);
  const double dout = number("dout", dout_object);
  const py::array values = contiguous_operand(y, type);
  py::array dx = new_like(type, values);
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const auto factor = static_cast<T>(dout / static_cast<double>(t.size()));
    const MaybeReleaseGil release(static_cast<double>(values.size()));
    softmax_loss_backward<T>(input<T>(values), input<std::int64_t>(t), factor, output<T>(dx),
                             t.size(), classes);
  });
  return finished(dx, type);
}

py::tuple sigmoid_loss_any(py::handle x_object, py::handle t_object) {
  const Argument x = argument("x", x_object);
  const Argument t = argument("t", t_object);
  compute_type({&t});  // a type that cannot be a target raises
  const ComputeType type = compute_type({&x});
  require_axis(x);
  require_same_shape(x, t);
  if (x.array.size() == 0) raise_empty(x);
  const py::array values = contiguous_operand(x, type);
  py::array y = new_like(type, values);
  // A copy always: the caller may change its own array before backward.
  py::array targets = new_like(type, values);
  py::module_::import("numpy").attr("copyto")(targets, t.array, py::arg("casting") = "unsafe");
  const double sum = with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(work_of(values));
    return sigmoid_loss<T>(input<T>(values), input<T>(targets), output<T>(y), values.size());
  });
  return py::make_tuple(sum / static_cast<double>(values.shape(0)), finished(y, type),
                        finished(targets, type));
}

py::array sigmoid_loss_backward_any(py::handle y_object, py::handle t_object,
                                    py::handle dout_object) {
  const Argument y = argument("y", y_object);
  const Argument t = argument("t", t_object);
  const ComputeType type = compute_type({&y, &t});
  require_axis(y);
  require_same_shape(y, t);
  if (y.array.size() == 0) raise_empty(y);
  const double dout = number("dout", dout_object);
  const py::array values = contiguous_operand(y, type);
  const py::array targets = contiguous_operand(t, type);
  py::array dx = new_like(type, values);
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const auto factor = static_cast<T>(dout / static_cast<double>(values.shape(0)));
    const MaybeReleaseGil release(static_cast<double>(values.size()));
    sigmoid_loss_backward<T>(input<T>(values), input<T>(targets), factor, output<T>(dx),
                             values.size());
  });
  return finished(dx, type);
}

}  // namespace

void bind_softmax(py::module_& module) {
  module.def("softmax", &softmax_any, py::arg("x"));
  module.def("softmax_backward", &softmax_backward_any, py::arg("y"), py::arg("dout"));
  module.def("cross_entropy_error", &cross_entropy_any, py::arg("y"), py::arg("t"));
  module.def("softmax_loss_forward", &softmax_loss_any, py::arg("x"), py::arg("t"));
  module.def("softmax_loss_backward", &softmax_loss_backward_any, py::arg("y"), py::arg("t"),
             py::arg("dout"));
  module.def("sigmoid_loss_forward", &sigmoid_loss_any, py::arg("x"), py::arg("t"));
  module.def("sigmoid_loss_backward", &sigmoid_loss_backward_any, py::arg("y"), py::arg("t"),
             py::arg("dout"));
}

}  // namespace nnext::bindings
