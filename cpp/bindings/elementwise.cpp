// Element-by-element functions, their gradients, dropout.
#include "nnext/elementwise.h"

#include <cmath>

#include "gil.h"
#include "module.h"
#include "scalars.h"
#include "view.h"

namespace nnext::bindings {
namespace {

double work_of(const View& x) { return static_cast<double>(x.size()); }

template <Unary F>
py::array unary(py::handle x_object) {
  const View x = argument("x", x_object);
  const ComputeType type = compute_type({&x});
  const View values = contiguous_operand(x, type);
  const View y = new_like(type, values);
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(work_of(values));
    apply<T>(F, input<T>(values), output<T>(y), values.size());
  });
  return finished(y, type);
}

template <Unary F>
constexpr const char* kRemembered = remembers_input(F) ? "x" : "y";

template <Unary F>
py::array unary_backward(py::handle remembered_object, py::handle dout_object) {
  const View remembered = argument(kRemembered<F>, remembered_object);
  const View dout = argument("dout", dout_object);
  require_same_shape(remembered, dout);
  const ComputeType type = compute_type({&remembered, &dout});
  const View values = contiguous_operand(remembered, type);
  const View gradient = contiguous_operand(dout, type);
  const View dx = new_like(type, values);
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(work_of(values));
    apply_backward<T>(F, input<T>(values), input<T>(gradient), output<T>(dx), values.size());
  });
  return finished(dx, type);
}

double checked_slope(py::handle object) {
  const double slope = number("negative_slope", object);
  if (slope >= 0 && std::isfinite(slope)) return slope;
  throw py::value_error("negative_slope: expected a finite number that is at least 0, got " +
                        number_text(slope));
}

// The slope in the type of the computation, where it may be infinite.
template <class T>
T slope_of_type(double slope) {
  const T value = static_cast<T>(slope);
  if (std::isfinite(value)) return value;
  throw py::value_error("negative_slope: expected a number that float32 can hold, got " +
                        number_text(slope));
}

py::array leaky_relu_any(py::handle x_object, py::handle slope_object) {
  const View x = argument("x", x_object);
  const double slope = checked_slope(slope_object);
  const ComputeType type = compute_type({&x});
  const View values = contiguous_operand(x, type);
  const View y = new_like(type, values);
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const T negative_slope = slope_of_type<T>(slope);
    const MaybeReleaseGil release(work_of(values));
    leaky_relu<T>(input<T>(values), output<T>(y), values.size(), negative_slope);
  });
  return finished(y, type);
}

py::array leaky_relu_backward_any(py::handle y_object, py::handle dout_object,
                                  py::handle slope_object) {
  const View y = argument("y", y_object);
  const View dout = argument("dout", dout_object);
  require_same_shape(y, dout);
  const double slope = checked_slope(slope_object);
  const ComputeType type = compute_type({&y, &dout});
  const View values = contiguous_operand(y, type);
  const View gradient = contiguous_operand(dout, type);
  const View dx = new_like(type, values);
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const T negative_slope = slope_of_type<T>(slope);
    const MaybeReleaseGil release(work_of(values));
    leaky_relu_backward<T>(input<T>(values), input<T>(gradient), output<T>(dx), values.size(),
                           negative_slope);
  });
  return finished(dx, type);
}

double checked_ratio(py::handle object) {
  const double ratio = number("ratio", object);
  if (ratio >= 0 && ratio < 1) return ratio;
  throw py::value_error("ratio: expected a number in [0, 1), got " + number_text(ratio));
}

py::tuple dropout_any(py::handle x_object, py::handle ratio_object, py::handle seed_object,
                      py::handle offset_object) {
  const View x = argument("x", x_object);
  const ComputeType type = compute_type({&x});
  const double ratio = checked_ratio(ratio_object);
  const std::uint64_t seed = low_bits("seed", seed_object);
  const std::uint64_t offset = low_bits("offset", offset_object);
  const View values = contiguous_operand(x, type);
  const View y = new_like(type, values);
  const View mask = new_array(py::dtype::of<bool>(), values.ndim(), values.shape());
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(work_of(values));
    dropout<T>(input<T>(values), output<T>(y), output<std::uint8_t>(mask), values.size(), ratio,
               seed, offset);
  });
  return py::make_tuple(finished(y, type), mask.owner());
}

py::array dropout_backward_any(py::handle dout_object, py::handle mask_object,
                               py::handle ratio_object) {
  const View dout = argument("dout", dout_object);
  const View mask = argument("mask", mask_object);
  require_same_shape(mask, dout);
  if (mask.kind() != Kind::kBool) {
    throw py::type_error("mask: expected booleans, got type " + mask.dtype_text());
  }
  const ComputeType type = compute_type({&dout});
  const double ratio = checked_ratio(ratio_object);
  const View gradient = contiguous_operand(dout, type);
  const View kept = contiguous(mask);
  const View dx = new_like(type, gradient);
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(work_of(gradient));
    dropout_backward<T>(input<T>(gradient), input<std::uint8_t>(kept), output<T>(dx),
                        gradient.size(), ratio);
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
  module.def("silu", &unary<Unary::kSilu>, py::arg("x"));
  module.def("gelu", &unary<Unary::kGelu>, py::arg("x"));
  module.def("gelu_tanh", &unary<Unary::kGeluTanh>, py::arg("x"));
  module.def("leaky_relu", &leaky_relu_any, py::arg("x"), py::arg("negative_slope"));
  module.def("sigmoid_backward", &unary_backward<Unary::kSigmoid>, py::arg("y"), py::arg("dout"));
  module.def("tanh_backward", &unary_backward<Unary::kTanh>, py::arg("y"), py::arg("dout"));
  module.def("relu_backward", &unary_backward<Unary::kRelu>, py::arg("y"), py::arg("dout"));
  module.def("silu_backward", &unary_backward<Unary::kSilu>, py::arg("x"), py::arg("dout"));
  module.def("gelu_backward", &unary_backward<Unary::kGelu>, py::arg("x"), py::arg("dout"));
  module.def("gelu_tanh_backward", &unary_backward<Unary::kGeluTanh>, py::arg("x"),
             py::arg("dout"));
  module.def("leaky_relu_backward", &leaky_relu_backward_any, py::arg("y"), py::arg("dout"),
             py::arg("negative_slope"));
  module.def("dropout_forward", &dropout_any, py::arg("x"), py::arg("ratio"), py::arg("seed"),
             py::arg("offset"));
  module.def("dropout_backward", &dropout_backward_any, py::arg("dout"), py::arg("mask"),
             py::arg("ratio"));
}

}  // namespace nnext::bindings
