// Losses of single scores: of regression, and the cross entropy of a sigmoid.
#include "nnext/element_loss.h"

#include <pybind11/stl.h>

#include <cmath>
#include <limits>

#include "gil.h"
#include "module.h"
#include "row_weights.h"
#include "scalars.h"

namespace nnext::bindings {
namespace {

struct Kind {
  const char* name;
  LossKind kind;
  const char* targets;  // what they must be, or null: anything
  double least;
  double most;
  bool is_mean;  // a row's loss is the mean of its scores', else the sum
};

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr Kind kKinds[] = {
    {"squared", LossKind::kSquared, nullptr, 0, 0, true},
    {"absolute", LossKind::kAbsolute, nullptr, 0, 0, true},
    {"huber", LossKind::kHuber, nullptr, 0, 0, true},
    {"poisson", LossKind::kPoisson, "counts of at least 0", 0, kInfinity, true},
    {"binary", LossKind::kBinary, "binary labels in [0, 1]", 0, 1, false},
};

const Kind& kind_of(const std::string& name) {
  for (const Kind& kind : kKinds) {
    if (name == kind.name) return kind;
  }
  throw py::value_error("kind: there is no loss '" + name + "'");
}

// Targets in the type computed in: a copy always, since the caller may change its own array before
// backward. Those of rows that weigh nothing may be anything.
View checked_targets(const View& t, const Kind& kind, const ComputeType& type,
                     const RowWeights* rows = nullptr) {
  compute_type({&t});  // a type that cannot be a target raises
  const View targets = new_like(type, t);
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const View values = contiguous_operand(t, type);
    for (py::ssize_t i = 0; i < values.size(); ++i) {
      const T value = input<T>(values)[i];
      output<T>(targets)[i] = value;
      if (kind.targets == nullptr || (value >= kind.least && value <= kind.most)) continue;
      const py::ssize_t row = i / (values.size() / values.shape(0));
      if (rows == nullptr || (*rows)[row] != 0) {
        throw py::value_error("t: row " + std::to_string(row) + " holds " + number_text(value) +
                              ", expected " + kind.targets);
      }
    }
  });
  return targets;
}

// So that its square is a normal number of float32.
double checked_delta(py::handle object) {
  const double delta = number("delta", object);
  if (!(delta >= 0x1p-60 && delta <= 0x1p60)) {
    throw py::value_error("delta: expected a number from 1e-18 to 1e18, got " +
                          py::repr(object).cast<std::string>());
  }
  return delta;
}

// One for each number of a row, from a number for all or an array of a row's shape; empty for None.
template <class T>
std::vector<T> positive_weights(py::handle object, const View& x) {
  if (object.is_none()) return {};
  const View weight = argument("pos_weight", object);
  compute_type({&weight});
  const Shape row = {x.shape() + 1, x.shape() + x.ndim()};
  if (weight.ndim() > 0 && shape_of(weight) != row) {
    throw py::value_error("pos_weight: expected a number or shape " + shape_text(row) +
                          ", that of a row of x, got " + shape_text(weight));
  }
  std::vector<T> result;
  for (const double value : doubles(weight)) {
    const auto rounded = static_cast<T>(value);
    if (!(value >= 0 && std::isfinite(rounded))) {
      throw py::value_error("pos_weight: expected finite numbers of at least 0, got " +
                            number_text(value));
    }
    result.push_back(rounded < std::numeric_limits<T>::min() ? T{0} : rounded);
  }
  py::ssize_t columns = 1;
  for (const py::ssize_t n : row) columns *= n;
  if (weight.ndim() == 0) result.resize(static_cast<std::size_t>(columns), result[0]);
  return result;
}

// Scores (N, ...) or predictions made of them, and their loss.
class Batch {
 public:
  Batch(const View& x, const std::string& kind, py::handle reduction, py::handle delta,
        py::handle pos_weight, const Counting& counting, const ComputeType& type)
      : kind_(kind_of(kind)),
        columns_(x.shape(0) == 0 ? 0 : x.size() / x.shape(0)),
        weights_(reduction_of(reduction), counting, {x.shape(0)}),
        delta_(kind_.kind == LossKind::kHuber ? checked_delta(delta) : 1) {
    if (type.is_double) {
      positive_f64_ = positive_weights<double>(pos_weight, x);
    } else {
      positive_f32_ = positive_weights<float>(pos_weight, x);
    }
    weights_.count_all();
    weights_.require_finite_total();
    if (x.size() == 0 && (x.shape(0) > 0 || weights_.is_mean_of_nothing())) {
      raise_empty_batch("x: expected at least 1 sample for a mean loss, got shape " +
                        shape_text(x));
    }
    if (weights_.is_mean_of_nothing()) {
      raise_empty_batch("sample_weight: every row has weight 0, and the loss is a mean");
    }
  }

  const Kind& kind() const { return kind_; }
  const RowWeights& rows() const { return weights_; }
  py::ssize_t columns() const { return columns_; }

  template <class T>
  ElementLoss<T> loss() const {
    const std::vector<T>& positive = positive_weight<T>();
    return {kind_.kind, static_cast<T>(delta_), positive.empty() ? nullptr : positive.data(),
            kind_.is_mean ? static_cast<double>(columns_) : 1.0};
  }
  double work() const {
    const bool is_heavy = kind_.kind == LossKind::kPoisson || kind_.kind == LossKind::kBinary;
    return (is_heavy ? 4.0 : 1.0) * static_cast<double>(weights_.size() * columns_);
  }

 private:
  template <class T>
  const std::vector<T>& positive_weight() const {
    if constexpr (sizeof(T) == 4) {
      return positive_f32_;
    } else {
      return positive_f64_;
    }
  }

  const Kind& kind_;
  py::ssize_t columns_;
  RowWeights weights_;
  double delta_;
  std::vector<float> positive_f32_;
  std::vector<double> positive_f64_;
};

void require_targets(const View& x, const View& t) {
  if (x.ndim() == t.ndim() + 1 && x.size() == t.size()) {
    throw py::value_error("t: expected shape " + shape_text(x) + ", that of x, got " +
                          shape_text(t) + "; t[..., None] is a column of targets");
  }
  require_same_shape(x, t);
}

// The loss, how much the batch counts, and what backward needs: the predictions, the targets, the
// weights, and the half-precision type that the gradient is rounded to, where the scores have one:
// what is kept is float32 then, so that it is rounded once.
py::tuple forward(py::handle x_object, py::handle t_object, const std::string& kind,
                  py::handle reduction, py::handle delta, py::handle pos_weight, py::handle weight,
                  py::handle count) {
  const View x = argument("x", x_object);
  const View t = argument("t", t_object);
  const ComputeType type = compute_type({&x});
  require_axis(x);
  require_targets(x, t);
  const Batch batch(x, kind, reduction, delta, pos_weight, {weight, count}, type);
  const View values = contiguous_operand(x, type);
  const View targets = checked_targets(t, batch.kind(), type, &batch.rows());
  const View y = new_like(type, values);
  std::vector<double> losses(static_cast<std::size_t>(batch.rows().size()));
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const ElementLoss<T> loss = batch.loss<T>();
    const MaybeReleaseGil release(batch.work());
    element_loss<T>(loss, input<T>(values), input<T>(targets), output<T>(y), batch.rows().size(),
                    batch.columns(), losses.data());
  });
  return py::make_tuple(batch.rows().reduced(losses, type), batch.rows().total(), y.owner(),
                        targets.owner(), batch.rows().kept(),
                        type.half ? type.half : py::object(py::none()));
}

// Everything is checked again: these are attributes of a layer, which its user may have replaced.
py::array backward(py::handle y_object, py::handle t_object, const std::string& kind,
                   py::handle reduction, py::handle delta, py::handle pos_weight, py::handle weight,
                   py::handle half, py::handle dout, py::handle count) {
  const View y = argument("y", y_object);
  const View t = argument("t", t_object);
  ComputeType type = compute_type({&y, &t});
  require_axis(y);
  require_same_shape(y, t);
  const Batch batch(y, kind, reduction, delta, pos_weight, {weight, count}, type);
  const std::vector<double> factor = batch.rows().factors(dout);
  const View values = contiguous_operand(y, type);
  const View targets = contiguous_operand(t, type);
  const View dx = new_like(type, values);
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const ElementLoss<T> loss = batch.loss<T>();
    const MaybeReleaseGil release(static_cast<double>(values.size()));
    element_loss_backward<T>(loss, input<T>(values), input<T>(targets), factor.data(),
                             output<T>(dx), batch.rows().size(), batch.columns());
  });
  if (!half.is_none()) type.half = py::reinterpret_borrow<py::object>(half);
  return finished(dx, type);
}

// What a mean over these rows divides by, and over rows before that have `before`. x has the type
// of their scores, and their shape but for the number of rows; the targets are checked.
double count(py::handle x_object, py::handle t_object, const std::string& kind,
             py::handle reduction, py::handle weight, py::handle before) {
  const View x = argument("x", x_object);
  const View t = argument("t", t_object);
  require_axis(x);
  Shape shape = shape_of(x);
  if (t.ndim() > 0) shape[0] = t.shape(0);
  if (shape_of(t) != shape) {
    throw py::value_error("t: expected shape " + shape_text(shape) + ", that of the scores, got " +
                          shape_text(t));
  }
  RowWeights rows(reduction_of(reduction), {weight, py::none(), number("before", before)},
                  {shape[0]});
  checked_targets(t, kind_of(kind), compute_type({&x}), &rows);
  rows.count_all();
  rows.require_finite_total();
  return rows.total();
}

// Binary labels of scores of a shape, checked: in float64.
py::object binary_labels(py::handle t_object, const Shape& shape) {
  const View t = argument("t", t_object);
  if (shape_of(t) != shape) {
    throw py::value_error("t: expected shape " + shape_text(shape) + ", that of the scores, got " +
                          shape_text(t));
  }
  if (shape.empty()) throw py::value_error("t: expected at least 1 dimension, got shape ()");
  return checked_targets(t, kind_of("binary"), ComputeType{true, {}}).owner();
}

}  // namespace

void bind_element_loss(py::module_& module) {
  module.def("element_loss_forward", &forward, py::arg("x"), py::arg("t"), py::arg("kind"),
             py::arg("reduction"), py::arg("delta").none(true), py::arg("pos_weight").none(true),
             py::arg("sample_weight").none(true), py::arg("count") = py::none());
  module.def("element_loss_backward", &backward, py::arg("y"), py::arg("t"), py::arg("kind"),
             py::arg("reduction"), py::arg("delta").none(true), py::arg("pos_weight").none(true),
             py::arg("sample_weight").none(true), py::arg("half").none(true), py::arg("dout"),
             py::arg("count") = py::none());
  module.def("element_loss_count", &count, py::arg("x"), py::arg("t"), py::arg("kind"),
             py::arg("reduction"), py::arg("sample_weight").none(true), py::arg("before") = 0.0);
  module.def("binary_labels", &binary_labels, py::arg("t"), py::arg("shape"));
}

}  // namespace nnext::bindings
