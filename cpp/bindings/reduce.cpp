// Sums over an axis.
#include "nnext/reduce.h"

#include "gil.h"
#include "module.h"
#include "scalars.h"
#include "view.h"

namespace nnext::bindings {
namespace {

py::object sum_any(py::handle x_object, py::handle axis_object, py::handle keepdims_object) {
  const bool keepdims = truth(keepdims_object);
  const View x = argument("x", x_object);
  const ComputeType type = compute_type({&x});
  const py::ssize_t ndim = x.ndim();
  py::ssize_t first = 0;
  py::ssize_t last = ndim;  // axes [first, last) are summed
  if (!axis_object.is_none()) {
    const std::int64_t axis = whole_number("axis", axis_object);
    if (axis < -ndim || axis >= ndim) {
      throw py::value_error("axis: " + std::to_string(axis) + " is out of range for shape " +
                            shape_text(x));
    }
    first = axis < 0 ? axis + ndim : axis;
    last = first + 1;
  }
  const View values = contiguous_operand(x, type);
  py::ssize_t sizes[3] = {1, 1, 1};  // outer, summed, inner
  Shape shape;
  for (py::ssize_t i = 0; i < ndim; ++i) {
    sizes[i < first ? 0 : i < last ? 1 : 2] *= values.shape(i);
    if (i < first || i >= last) {
      shape.push_back(values.shape(i));
    } else if (keepdims) {
      shape.push_back(1);
    }
  }
  const View sums = new_array(type, shape);
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(static_cast<double>(values.size()));
    sum_axis<T>(input<T>(values), output<T>(sums), sizes[0], sizes[1], sizes[2]);
  });
  py::array done = finished(sums, type);
  if (shape.empty()) return done[py::tuple()];
  return done;
}

}  // namespace

void bind_reduce(py::module_& module) {
  module.def("sum", &sum_any, py::arg("x"), py::arg("axis") = py::none(),
             py::arg("keepdims") = false);
}

}  // namespace nnext::bindings
