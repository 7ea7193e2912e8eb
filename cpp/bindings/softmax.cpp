// Softmax, the cross entropy of probabilities, and the loss of a sigmoid.
#include "nnext/softmax.h"

#include <pybind11/stl.h>

#include "gil.h"
#include "labels.h"
#include "module.h"
#include "scalars.h"

namespace nnext::bindings {
namespace {

constexpr double kExpWork = 4;  // an exponential in units of MaybeReleaseGil's element operations

py::ssize_t classes_of(const View& x) { return x.shape(x.ndim() - 1); }
py::ssize_t rows_of(const View& x) {
  py::ssize_t rows = 1;
  for (py::ssize_t i = 0; i + 1 < x.ndim(); ++i) rows *= x.shape(i);
  return classes_of(x) == 0 ? 0 : rows;
}

double work_of(const View& x) { return kExpWork * static_cast<double>(x.size()); }

[[noreturn]] void raise_empty(const View& x) {
  raise_empty_batch(std::string(x.name()) +
                    ": expected at least 1 sample for a mean loss, got shape " + shape_text(x));
}

py::array softmax_any(py::handle x_object) {
  const View x = argument("x", x_object);
  const ComputeType type = compute_type({&x});
  require_axis(x);
  const View values = contiguous_operand(x, type);
  const View y = new_like(type, values);
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(work_of(values));
    softmax<T>(input<T>(values), output<T>(y), rows_of(values), classes_of(values));
  });
  return finished(y, type);
}

py::array softmax_backward_any(py::handle y_object, py::handle dout_object) {
  const View y = argument("y", y_object);
  const View dout = argument("dout", dout_object);
  const ComputeType type = compute_type({&y, &dout});
  require_axis(y);
  require_same_shape(y, dout);
  const View values = contiguous_operand(y, type);
  const View gradient = contiguous_operand(dout, type);
  const View dx = new_like(type, values);
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(static_cast<double>(values.size()));
    softmax_backward<T>(input<T>(values), input<T>(gradient), output<T>(dx), rows_of(values),
                        classes_of(values));
  });
  return finished(dx, type);
}

double cross_entropy_any(py::handle y_object, py::handle t_object) {
  const View y = argument("y", y_object);
  const ComputeType type = compute_type({&y});
  require_axis(y);
  const Labels t(t_object, {y.shape(), y.shape() + y.ndim() - 1}, classes_of(y), {}, type);
  if (t.size() == 0) raise_empty(y);
  const View values = contiguous_operand(y, type);
  return with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(work_of(t.has_soft_rows() ? t.soft() : t.index()));
    return cross_entropy_error<T>(input<T>(values), t.rows<T>(), t.size(), classes_of(values));
  });
}

// Binary targets in the type computed in: a copy always, since the caller may change its own array
// before backward.
View binary_targets(const View& t, const ComputeType& type) {
  compute_type({&t});  // a type that cannot be a target raises
  const View targets = new_like(type, t);
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const View values = contiguous_operand(t, type);
    for (py::ssize_t i = 0; i < values.size(); ++i) {
      const T value = input<T>(values)[i];
      if (!(value >= 0 && value <= 1)) {
        const py::ssize_t row = i / (values.size() / values.shape(0));
        throw py::value_error("t: row " + std::to_string(row) + " holds " + number_text(value) +
                              ", expected binary labels in [0, 1]");
      }
      output<T>(targets)[i] = value;
    }
  });
  return targets;
}

py::tuple sigmoid_loss_any(py::handle x_object, py::handle t_object) {
  const View x = argument("x", x_object);
  const View t = argument("t", t_object);
  const ComputeType type = compute_type({&x});
  require_axis(x);
  require_same_shape(x, t);
  if (x.size() == 0) raise_empty(x);
  const View values = contiguous_operand(x, type);
  const View targets = binary_targets(t, type);
  const View y = new_like(type, values);
  const double sum = with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(work_of(values));
    return sigmoid_loss<T>(input<T>(values), input<T>(targets), output<T>(y), values.size());
  });
  return py::make_tuple(sum / static_cast<double>(values.shape(0)), y.owner(),
                        finished(targets, type));
}

// The probabilities of half-precision scores are kept in float32, so that the gradient is rounded
// once, to the type of the labels, which is that of the scores.
py::array sigmoid_loss_backward_any(py::handle y_object, py::handle t_object,
                                    py::handle dout_object) {
  const View y = argument("y", y_object);
  const View t = argument("t", t_object);
  ComputeType type = compute_type({&y, &t});
  if (!type.is_double) type.half = compute_type({&t}).half;
  require_axis(y);
  require_same_shape(y, t);
  if (y.size() == 0) raise_empty(y);
  const double dout = number("dout", dout_object);
  const View values = contiguous_operand(y, type);
  const View targets = contiguous_operand(t, type);
  const View dx = new_like(type, values);
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const auto factor = static_cast<T>(dout / static_cast<double>(values.shape(0)));
    const MaybeReleaseGil release(static_cast<double>(values.size()));
    sigmoid_loss_backward<T>(input<T>(values), input<T>(targets), factor, output<T>(dx),
                             values.size());
  });
  return finished(dx, type);
}

// Binary labels of scores of a shape, checked: in float64.
py::object binary_labels(py::handle t_object, const Shape& shape) {
  const View t = argument("t", t_object);
  if (shape_of(t) != shape) {
    throw py::value_error("t: expected shape " + shape_text(shape) + ", that of the scores, got " +
                          shape_text(t));
  }
  if (shape.empty()) throw py::value_error("t: expected at least 1 dimension, got shape ()");
  return binary_targets(t, ComputeType{true, {}}).owner();
}

}  // namespace

void bind_softmax(py::module_& module) {
  module.def("softmax", &softmax_any, py::arg("x"));
  module.def("softmax_backward", &softmax_backward_any, py::arg("y"), py::arg("dout"));
  module.def("cross_entropy_error", &cross_entropy_any, py::arg("y"), py::arg("t"));
  module.def("sigmoid_loss_forward", &sigmoid_loss_any, py::arg("x"), py::arg("t"));
  module.def("sigmoid_loss_backward", &sigmoid_loss_backward_any, py::arg("y"), py::arg("t"),
             py::arg("dout"));
  module.def("binary_labels", &binary_labels, py::arg("t"), py::arg("shape"));
}

}  // namespace nnext::bindings
