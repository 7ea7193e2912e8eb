// Layer norm and batch norm.
#include "nnext/normalize.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "gil.h"
#include "module.h"
#include "scalars.h"
#include "target.h"

namespace nnext::bindings {
namespace {

const ComputeType kDouble{true, {}};

// x (..., D) with gamma and, unless it is None, beta, of D elements each; rows are all leading
// axes.
struct NormArguments {
  View x;
  View gamma;
  View beta;
  py::ssize_t cols;
  py::ssize_t rows;
  Shape row_shape;  // (D,)

  NormArguments(py::handle x_object, py::handle gamma_object, py::handle beta_object)
      : x(argument("x", x_object)),
        gamma(argument("gamma", gamma_object)),
        beta(beta_object.is_none() ? View() : argument("beta", beta_object)) {
    if (gamma.ndim() != 1) {
      throw py::value_error("gamma: expected one dimension, got shape " + shape_text(gamma));
    }
    row_shape = shape_of(gamma);
    cols = gamma.shape(0);
    if (!beta_object.is_none()) require_shape(beta, row_shape);
    require_axis(x);
    if (x.shape(x.ndim() - 1) != cols) {
      throw py::value_error("x: expected the last dimension to be " + std::to_string(cols) +
                            ", got shape " + shape_text(x) + " with gamma of shape " +
                            shape_text(gamma));
    }
    rows = 1;
    for (py::ssize_t i = 0; i + 1 < x.ndim(); ++i) rows *= x.shape(i);
  }

  static void require_shape(const View& array, const Shape& shape) {
    if (shape_of(array) == shape) return;
    throw py::value_error(std::string(array.name()) + ": expected shape " + shape_text(shape) +
                          ", got " + shape_text(array));
  }

  double work() const { return 8 * static_cast<double>(x.size()); }
};

// Statistics in float64, one for each of `shape`.
View statistics(const char* name, py::handle object, const Shape& shape) {
  const View given = argument(name, object);
  compute_type({&given});  // which refuses what are no numbers
  NormArguments::require_shape(given, shape);
  return contiguous_operand(given, kDouble);
}

double checked_eps(py::handle object) {
  const double eps = number("eps", object);
  if (eps >= std::numeric_limits<double>::min() && std::isfinite(eps)) return eps;
  throw py::value_error("eps: expected a finite number above 0, got " + number_text(eps));
}

double checked_momentum(py::handle object) {
  const double momentum = number("momentum", object);
  if (momentum >= 0 && momentum <= 1) return momentum;
  throw py::value_error("momentum: expected a number in [0, 1], got " + number_text(momentum));
}

// The arguments of a gradient, and what it is written into.
struct Gradients {
  View dout;
  Target dgamma;
  Target dbeta;

  Gradients(const NormArguments& in, py::handle dout_object, py::handle dgamma_object,
            py::handle dbeta_object)
      : dout(argument("dout", dout_object)),
        dgamma("dgamma", dgamma_object, in.row_shape),
        dbeta("dbeta", dbeta_object, in.row_shape) {
    require_same_shape(in.x, dout);
    dbeta.require_apart(dgamma);
  }

  void prepare(const ComputeType& type, std::initializer_list<const View*> inputs) {
    const bool in_place = may_write_in_place({&dgamma, &dbeta}, type);
    for (Target* const target : {&dgamma, &dbeta}) {
      target->prepare(type, target->original().is_c_contiguous(), in_place, inputs);
    }
  }
};

py::tuple layer_norm_any(py::handle x, py::handle gamma, py::handle beta, py::handle eps_object) {
  const NormArguments in(x, gamma, beta);
  const ComputeType type = compute_type({&in.x, &in.gamma, &in.beta});
  const double eps = checked_eps(eps_object);
  const View values = contiguous_operand(in.x, type);
  const View g = contiguous_operand(in.gamma, type);
  const View b = contiguous_operand(in.beta, type);
  const View y = new_like(type, values);
  const View mean = new_array(kDouble, Shape{in.rows});
  const View rstd = new_array(kDouble, Shape{in.rows});
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(in.work());
    layer_norm<T>(input<T>(values), input<T>(g), input<T>(b), eps, output<T>(y),
                  output<double>(mean), output<double>(rstd), in.rows, in.cols);
  });
  return py::make_tuple(finished(y, type), mean.owner(), rstd.owner());
}

py::object layer_norm_backward_any(py::handle x, py::handle gamma, py::handle dout_object,
                                   py::handle mean_object, py::handle rstd_object,
                                   py::handle dgamma, py::handle dbeta, py::handle input_grad) {
  const NormArguments in(x, gamma, py::none());
  Gradients grads(in, dout_object, dgamma, dbeta);
  const View mean = statistics("mean", mean_object, {in.rows});
  const View rstd = statistics("rstd", rstd_object, {in.rows});
  const bool needs_dx = truth(input_grad);
  const ComputeType type = compute_type({&in.x, &in.gamma, &grads.dout});
  const View values = contiguous_operand(in.x, type);
  const View g = contiguous_operand(in.gamma, type);
  const View dout = contiguous_operand(grads.dout, type);
  grads.prepare(type, {&values, &g, &dout, &mean, &rstd});
  const View dx = needs_dx ? new_like(type, values) : View();
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(in.work());
    layer_norm_backward<T>(input<T>(values), input<T>(g), input<T>(dout), input<double>(mean),
                           input<double>(rstd), needs_dx ? output<T>(dx) : nullptr,
                           output<T>(grads.dgamma.array()), output<T>(grads.dbeta.array()), in.rows,
                           in.cols);
  });
  py::object result = py::none();
  if (needs_dx) result = finished(dx, type);
  commit({&grads.dgamma, &grads.dbeta});
  return result;
}

// Returns y and mean and variance of the batch, and updates the running ones.
py::tuple batch_norm_any(py::handle x, py::handle gamma, py::handle beta, py::handle mean_object,
                         py::handle var_object, py::handle momentum_object, py::handle eps_object) {
  const NormArguments in(x, gamma, beta);
  Target running_mean("running_mean", mean_object, in.row_shape);
  Target running_var("running_var", var_object, in.row_shape);
  running_var.require_apart(running_mean);
  const double momentum = checked_momentum(momentum_object);
  const double eps = checked_eps(eps_object);
  const ComputeType type = compute_type({&in.x, &in.gamma, &in.beta});
  const ComputeType running = compute_type({&running_mean.original(), &running_var.original()});
  const View values = contiguous_operand(in.x, type);
  const View g = contiguous_operand(in.gamma, type);
  const View b = contiguous_operand(in.beta, type);
  const View y = new_like(type, values);
  const View mean = new_array(kDouble, in.row_shape);
  const View var = new_array(kDouble, in.row_shape);
  // Aside, since y may have to be rounded after it, which may fail.
  running_mean.prepare_update(running, /*in_place=*/false);
  running_var.prepare_update(running, /*in_place=*/false);
  if (in.rows == 0) {
    std::fill_n(output<double>(mean), in.cols, 0.0);
    std::fill_n(output<double>(var), in.cols, 0.0);
    return py::make_tuple(finished(y, type), mean.owner(), var.owner());
  }
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(in.work());
    column_moments<T>(input<T>(values), output<double>(mean), output<double>(var), in.rows,
                      in.cols);
    batch_norm<T>(input<T>(values), input<T>(g), input<T>(b), input<double>(mean),
                  input<double>(var), eps, output<T>(y), in.rows, in.cols);
  });
  with_type(running, [&](auto zero) {
    using T = decltype(zero);
    update_running<T>(input<double>(mean), input<double>(var), in.rows, momentum,
                      output<T>(running_mean.array()), output<T>(running_var.array()), in.cols);
  });
  py::tuple result = py::make_tuple(finished(y, type), mean.owner(), var.owner());
  commit({&running_mean, &running_var});
  return result;
}

// Returns y by given statistics, and these in float64.
py::tuple batch_norm_inference_any(py::handle x, py::handle gamma, py::handle beta,
                                   py::handle mean_object, py::handle var_object,
                                   py::handle eps_object) {
  const NormArguments in(x, gamma, beta);
  const double eps = checked_eps(eps_object);
  const ComputeType type = compute_type({&in.x, &in.gamma, &in.beta});
  const View values = contiguous_operand(in.x, type);
  const View g = contiguous_operand(in.gamma, type);
  const View b = contiguous_operand(in.beta, type);
  const auto copied = [&](const char* name, py::handle object) {
    return converted(statistics(name, object, in.row_shape), float_type(true));
  };
  const View mean = copied("running_mean", mean_object);
  const View var = copied("running_var", var_object);
  const View y = new_like(type, values);
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(in.work());
    batch_norm<T>(input<T>(values), input<T>(g), input<T>(b), input<double>(mean),
                  input<double>(var), eps, output<T>(y), in.rows, in.cols);
  });
  return py::make_tuple(finished(y, type), mean.owner(), var.owner());
}

py::object batch_norm_backward_any(py::handle x, py::handle gamma, py::handle dout_object,
                                   py::handle mean_object, py::handle var_object,
                                   py::handle eps_object, py::handle of_batch, py::handle dgamma,
                                   py::handle dbeta, py::handle input_grad) {
  const NormArguments in(x, gamma, py::none());
  Gradients grads(in, dout_object, dgamma, dbeta);
  const View mean = statistics("mean", mean_object, in.row_shape);
  const View var = statistics("var", var_object, in.row_shape);
  const double eps = checked_eps(eps_object);
  const Moments moments = truth(of_batch) ? Moments::kOfBatch : Moments::kGiven;
  const bool needs_dx = truth(input_grad);
  const ComputeType type = compute_type({&in.x, &in.gamma, &grads.dout});
  const View values = contiguous_operand(in.x, type);
  const View g = contiguous_operand(in.gamma, type);
  const View dout = contiguous_operand(grads.dout, type);
  grads.prepare(type, {&values, &g, &dout, &mean, &var});
  const View dx = needs_dx ? new_like(type, values) : View();
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(in.work());
    batch_norm_backward<T>(input<T>(values), input<T>(g), input<T>(dout), input<double>(mean),
                           input<double>(var), eps, moments, needs_dx ? output<T>(dx) : nullptr,
                           output<T>(grads.dgamma.array()), output<T>(grads.dbeta.array()), in.rows,
                           in.cols);
  });
  py::object result = py::none();
  if (needs_dx) result = finished(dx, type);
  commit({&grads.dgamma, &grads.dbeta});
  return result;
}

}  // namespace

void bind_normalize(py::module_& module) {
  module.def("layer_norm_forward", &layer_norm_any, py::arg("x"), py::arg("gamma"), py::arg("beta"),
             py::arg("eps"));
  module.def("layer_norm_backward", &layer_norm_backward_any, py::arg("x"), py::arg("gamma"),
             py::arg("dout"), py::arg("mean"), py::arg("rstd"), py::arg("dgamma"), py::arg("dbeta"),
             py::arg("input_grad"));
  module.def("batch_norm_forward", &batch_norm_any, py::arg("x"), py::arg("gamma"), py::arg("beta"),
             py::arg("running_mean"), py::arg("running_var"), py::arg("momentum"), py::arg("eps"));
  module.def("batch_norm_inference", &batch_norm_inference_any, py::arg("x"), py::arg("gamma"),
             py::arg("beta"), py::arg("running_mean"), py::arg("running_var"), py::arg("eps"));
  module.def("batch_norm_backward", &batch_norm_backward_any, py::arg("x"), py::arg("gamma"),
             py::arg("dout"), py::arg("mean"), py::arg("var"), py::arg("eps"), py::arg("of_batch"),
             py::arg("dgamma"), py::arg("dbeta"), py::arg("input_grad"));
}

}  // namespace nnext::bindings
