// Element-by-element functions, their gradients, dropout.
#include "nnext/elementwise.h"

#include "arrays.h"
#include "module.h"

namespace nnext::bindings {
namespace {

template <Unary F>
py::array unary(py::handle x_object) {
  const Argument x = argument("x", x_object);
  const ComputeType type = compute_type({&x});
  const py::array values = contiguous_operand(x, type);
  py::array y = new_like(type, values);
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(static_cast<double>(values.size()));
    apply<T>(F, input<T>(values), output<T>(y), values.size());
  });
  return finished(y, type);
}

template <Unary F>
py::array unary_backward(py::handle y_object, py::handle dout_object) {
  const Argument y = argument("y", y_object);
  const Argument dout = argument("dout", dout_object);
  require_same_shape(y, dout);
  const ComputeType type = compute_type({&y, &dout});
  const py::array values = contiguous_operand(y, type);
  const py::array gradient = contiguous_operand(dout, type);
  py::array dx = new_like(type, values);
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(static_cast<double>(values.size()));
    apply_backward<T>(F, input<T>(values), input<T>(gradient), output<T>(dx), values.size());
  });
  return finished(dx, type);
}

double checked_ratio(py::handle object) {
  const double ratio = number("ratio", object);
  if (ratio >= 0 && ratio < 1) return ratio;
  throw py::value_error("ratio: expected a number in [0, 1), got " + std::to_string(ratio));
}

std::uint64_t whole_number(const char* name, py::handle object) {
  const auto index = py::reinterpret_steal<py::object>(PyNumber_Index(object.ptr()));
  if (!index) {
    PyErr_Clear();
    throw py::type_error(std::string(name) + ": expected a whole number, got " +
                         Py_TYPE(object.ptr())->tp_name);
  }
  const std::uint64_t value = PyLong_AsUnsignedLongLongMask(index.ptr());
  if (PyErr_Occurred() != nullptr) throw py::error_already_set();
  return value;
}

py::tuple dropout_any(py::handle x_object, py::handle ratio_object, py::handle seed_object,
                      py::handle offset_object) {
  const Argument x = argument("x", x_object);
  const ComputeType type = compute_type({&x});
  const double ratio = checked_ratio(ratio_object);
  const std::uint64_t seed = whole_number("seed", seed_object);
  const std::uint64_t offset = whole_number("offset", offset_object);
  const py::array values = contiguous_operand(x, type);
  py::array y = new_like(type, values);
  py::array mask = new_array(py::dtype::of<bool>(), values.ndim(), values.shape());
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(static_cast<double>(values.size()));
    dropout<T>(input<T>(values), output<T>(y), output<bool>(mask), values.size(), ratio, seed,
               offset);
  });
  return py::make_tuple(finished(y, type), mask);
}

py::array dropout_backward_any(py::handle dout_object, py::handle mask_object,
                               py::handle ratio_object) {
  const Argument dout = argument("dout", dout_object);
  Argument mask = argument("mask", mask_object);
  require_same_shape(mask, dout);
  if (mask.array.dtype().kind() != 'b') {
    throw py::type_error("mask: expected booleans, got type " +
                         py::str(mask.array.dtype()).cast<std::string>());
  }
  const ComputeType type = compute_type({&dout});
  const double ratio = checked_ratio(ratio_object);
  const py::array gradient = contiguous_operand(dout, type);
  const py::array kept = contiguous(mask.array);
  py::array dx = new_like(type, gradient);
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(static_cast<double>(gradient.size()));
    dropout_backward<T>(input<T>(gradient), input<bool>(kept), output<T>(dx), gradient.size(),
                        ratio);
  });
  return finished(dx, type);
}

}  // namespace

void bind_elementwise(py::module_& module) {
  module.def("exp", &unary<Unary::kExp>, py::arg("x"));
  module.def("log", &unary<Unary::kLog>, py::arg("x"));
  module.def("sigmoid", &unary<Unary::kSigmoid>, py::arg("x"));
  module.def("tanh", &unary<Unary::kTanh>, py::arg("x"));
  module.def("relu", &unary<Unary::kRelu>, py::arg("x"));
  module.def("sigmoid_backward", &unary_backward<Unary::kSigmoid>, py::arg("y"), py::arg("dout"));
  module.def("tanh_backward", &unary_backward<Unary::kTanh>, py::arg("y"), py::arg("dout"));
  module.def("relu_backward", &unary_backward<Unary::kRelu>, py::arg("y"), py::arg("dout"));
  module.def("dropout_forward", &dropout_any, py::arg("x"), py::arg("ratio"), py::arg("seed"),
             py::arg("offset"));
  module.def("dropout_backward", &dropout_backward_any, py::arg("dout"), py::arg("mask"),
             py::arg("ratio"));
}

}  // namespace nnext::bindings
