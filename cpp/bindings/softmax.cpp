// Softmax, and the cross entropy of probabilities.
#include "nnext/softmax.h"

#include "gil.h"
#include "labels.h"
#include "module.h"

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

}  // namespace

void bind_softmax(py::module_& module) {
  module.def("softmax", &softmax_any, py::arg("x"));
  module.def("softmax_backward", &softmax_backward_any, py::arg("y"), py::arg("dout"));
  module.def("cross_entropy_error", &cross_entropy_any, py::arg("y"), py::arg("t"));
}

}  // namespace nnext::bindings
