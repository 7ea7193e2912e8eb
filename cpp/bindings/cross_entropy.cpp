// Softmax losses with options: of scores, and of a linear layer whose scores are never whole.
#include "nnext/cross_entropy.h"

#include <pybind11/stl.h>

#include <algorithm>

#include "linear.h"
#include "loss_options.h"
#include "module.h"
#include "nnext/linear_cross_entropy.h"

namespace nnext::bindings {
namespace {

std::vector<py::ssize_t> batch_shape(const py::array& x) {
  return {x.shape(), x.shape() + x.ndim() - 1};
}

// --- scores ---

// A copy of the scores, (..., C), that the core may overwrite.
struct Scores {
  Argument x;
  ComputeType type;
  py::array values;

  explicit Scores(py::handle object) : x(argument("x", object)), type(compute_type({&x})) {
    require_axis(x);
  }
  py::ssize_t classes() const { return x.array.shape(x.array.ndim() - 1); }

  // Overwrites a copy by `result`; returns the losses.
  std::vector<double> run(const LabelledBatch& batch, const double* factor, RowResult result) {
    const py::array from = contiguous_operand(x, type);
    values = new_like(type, from);
    std::vector<double> losses(static_cast<std::size_t>(batch.size()));
    with_type(type, [&](auto zero) {
      using T = decltype(zero);
      T* const to = output<T>(values);
      const MaybeReleaseGil release(4.0 * static_cast<double>(from.size()));
      std::copy_n(input<T>(from), from.size(), to);
      cross_entropy<T>(to, classes(), batch.size(), classes(), input<std::int64_t>(batch.labels()),
                       batch.terms<T>(), factor, result, losses.data());
    });
    return losses;
  }
};

py::tuple cross_entropy_forward(py::handle x, py::handle t, const py::tuple& option_tuple) {
  const LossOptions options(option_tuple);
  Scores scores(x);
  const LabelledBatch batch(options, t, batch_shape(scores.x.array), scores.classes(), scores.type);
  std::vector<double> losses = scores.run(batch, nullptr, RowResult::kProbabilities);
  const py::object loss = batch.reduced(losses, scores.type);
  return py::make_tuple(loss, finished(scores.values, scores.type), batch.labels());
}

py::array cross_entropy_backward(py::handle x, py::handle t, const py::tuple& option_tuple,
                                 py::handle dout) {
  LossOptions options(option_tuple);
  options.ignore_label = -1;  // labels that forward has checked: -1 where ignored
  Scores scores(x);
  const LabelledBatch batch(options, t, batch_shape(scores.x.array), scores.classes(), scores.type);
  const std::vector<double> factor = batch.factors(dout);
  scores.run(batch, factor.data(), RowResult::kGradient);
  return finished(scores.values, scores.type);
}

// --- a linear layer ---

// x (..., D), W (D, V), b (V) or None.
struct Layer {
  Argument x;
  Argument w;
  std::optional<Argument> b;
  ComputeType type;

  Layer(py::handle x_object, py::handle w_object, py::handle b_object)
      : x(argument("x", x_object)),
        w(weights(w_object)),
        b(bias(b_object, w)),
        type(b ? compute_type({&x, &w, &*b}) : compute_type({&x, &w})) {
    require_last_axis(x, w, 0);
  }
  py::ssize_t classes() const { return w.array.shape(1); }
};

// Its arrays in the type computed in.
struct LayerArrays {
  Rows x;
  py::array w;
  py::array b;

  explicit LayerArrays(const Layer& layer)
      : x(layer.x, layer.type),
        w(operand(layer.w, layer.type)),
        b(layer.b ? contiguous_operand(*layer.b, layer.type) : py::array()) {}

  template <class T>
  LinearScores<T> scores() const {
    return {x.view<T>(), matrix_view<const T>(w), b.size() > 0 ? input<T>(b) : nullptr};
  }
  double flops_of(double products) const { return products * flops(x.rows, x.cols, w.shape(1)); }
};

// The rows that count, one after another, and their losses.
struct CountingRows {
  std::vector<index_t> row;
  std::vector<std::int64_t> t;
  std::vector<double> factor;
  std::vector<double> loss;

  // `factors` of all rows, or empty for no gradient.
  CountingRows(const LabelledBatch& batch, const std::vector<double>& factors) {
    const auto* const label = input<std::int64_t>(batch.labels());
    for (index_t i = 0; i < batch.size(); ++i) {
      if (label[i] < 0) continue;
      row.push_back(i);
      t.push_back(label[i]);
      if (!factors.empty()) factor.push_back(factors[static_cast<std::size_t>(i)]);
    }
    loss.resize(row.size());
  }
  LabelledRows view() {
    return {row.data(), t.data(), factor.empty() ? nullptr : factor.data(), loss.data(),
            static_cast<index_t>(row.size())};
  }
  std::vector<double> losses_of_all(index_t n) const {
    std::vector<double> all(static_cast<std::size_t>(n));
    for (std::size_t i = 0; i < row.size(); ++i) all[static_cast<std::size_t>(row[i])] = loss[i];
    return all;
  }
};

py::object linear_loss(py::handle x, py::handle w, py::handle t, py::handle b,
                       const py::tuple& option_tuple) {
  const LossOptions options(option_tuple);
  const Layer layer(x, w, b);
  const LabelledBatch batch(options, t, batch_shape(layer.x.array), layer.classes(), layer.type);
  const LayerArrays arrays(layer);
  CountingRows rows(batch, {});
  with_type(layer.type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(arrays.flops_of(1));
    linear_cross_entropy<T>(arrays.scores<T>(), rows.view(), batch.terms<T>(), nullptr);
  });
  std::vector<double> losses = rows.losses_of_all(batch.size());
  return batch.reduced(losses, layer.type);
}

// An array of the caller to write into, or a new one like `like`.
Target target_or_new(const char* name, py::handle object, const Argument& like,
                     const ComputeType& type) {
  if (!object.is_none()) return {name, object, shape_of(like.array)};
  // In the memory order of `like`: a transposed view gets a transposed gradient.
  const py::object dtype =
      type.half ? type.half
                : py::object(type.is_double ? py::dtype::of<double>() : py::dtype::of<float>());
  return {name,
          py::module_::import("numpy").attr("empty_like")(like.array, py::arg("dtype") = dtype,
                                                          py::arg("subok") = false),
          shape_of(like.array)};
}

py::tuple linear_loss_with_grad(py::handle x, py::handle w, py::handle t, py::handle b,
                                const py::tuple& option_tuple, py::handle dout,
                                py::handle dx_object, py::handle dw_object, py::handle db_object,
                                py::handle input_grad) {
  const LossOptions options(option_tuple);
  const Layer layer(x, w, b);
  const ComputeType& type = layer.type;
  const LabelledBatch batch(options, t, batch_shape(layer.x.array), layer.classes(), type);
  const std::vector<double> factors = batch.factors(dout);
  const bool needs_dx = truth(input_grad);
  std::optional<Target> given_dx;
  if (needs_dx && !dx_object.is_none()) {
    given_dx.emplace("dx", dx_object, shape_of(layer.x.array));
  }
  Target dw = target_or_new("dW", dw_object, layer.w, type);
  std::optional<Target> db;
  if (layer.b) {
    db.emplace(target_or_new("db", db_object, *layer.b, type));
  } else if (!db_object.is_none()) {
    throw py::value_error("db: there is no b to have a gradient");
  }

  if (db) db->require_apart(dw);
  if (given_dx) {
    given_dx->require_apart(dw);
    if (db) given_dx->require_apart(*db);
  }

  const LayerArrays arrays(layer);
  const std::initializer_list<const py::array*> inputs = {&arrays.x.array, &arrays.w, &arrays.b,
                                                          &batch.class_weight()};
  dw.prepare(type, is_writable_layout(dw.original()), inputs);
  if (db) db->prepare(type, same_flat_layout({&db->original()}), inputs);
  py::array dx;
  if (given_dx) {
    given_dx->prepare(type, (given_dx->original().flags() & py::array::c_style) != 0, inputs);
    dx = given_dx->array();
  } else if (needs_dx) {
    dx = new_like(type, arrays.x.array);
  }
  CountingRows rows(batch, factors);
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const LinearGradients<T> gradients{
        {needs_dx ? output<T>(dx) : nullptr, arrays.x.rows, arrays.x.cols, arrays.x.cols, 1},
        matrix_view<T>(dw.array()),
        db ? output<T>(db->array()) : nullptr};
    const MaybeReleaseGil release(arrays.flops_of(3));
    linear_cross_entropy<T>(arrays.scores<T>(), rows.view(), batch.terms<T>(), &gradients);
  });
  std::vector<double> losses = rows.losses_of_all(batch.size());
  const py::object loss = batch.reduced(losses, type);
  dw.commit(type);
  if (db) db->commit(type);
  if (given_dx) given_dx->commit(type);
  py::object dx_result = py::none();
  if (given_dx) {
    dx_result = given_dx->original();
  } else if (needs_dx) {
    dx_result = finished(dx, type);
  }
  return py::make_tuple(loss, dx_result, dw.original(),
                        db ? py::object(db->original()) : py::object(py::none()));
}

py::tuple linear_best(py::handle x, py::handle w, py::handle b, py::handle k_object,
                      py::handle softcap_object) {
  const LossOptions options(
      py::make_tuple("none", py::none(), 0.0, py::none(), py::none(), 0.0, softcap_object));
  const Layer layer(x, w, b);
  if (PyBool_Check(k_object.ptr()) || !PyIndex_Check(k_object.ptr())) {
    throw py::type_error(std::string("k: expected a whole number, got ") +
                         Py_TYPE(k_object.ptr())->tp_name);
  }
  const Py_ssize_t k = PyNumber_AsSsize_t(k_object.ptr(), nullptr);
  if (k == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set();
  if (k < 1 || k > layer.classes()) {
    throw py::value_error("k: expected a number from 1 to the " + std::to_string(layer.classes()) +
                          " classes, got " + std::to_string(k));
  }
  const LayerArrays arrays(layer);
  std::vector<py::ssize_t> shape = batch_shape(layer.x.array);
  shape.push_back(k);
  const auto ndim = static_cast<py::ssize_t>(shape.size());
  py::array classes = new_array(py::dtype::of<std::int64_t>(), ndim, shape.data());
  py::array log_prob = new_array(layer.type, ndim, shape.data());
  with_type(layer.type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(arrays.flops_of(1));
    linear_top_k<T>(arrays.scores<T>(), static_cast<T>(options.softcap), k,
                    output<std::int64_t>(classes), output<T>(log_prob));
  });
  return py::make_tuple(classes, finished(log_prob, layer.type));
}

py::array labels_as_indices(py::handle t, const std::vector<py::ssize_t>& shape,
                            py::ssize_t classes, std::optional<std::int64_t> ignored) {
  return class_indices(t, shape, classes, ignored);
}

void check_options(const py::tuple& option_tuple) { const LossOptions options(option_tuple); }

void set_budget(py::handle bytes) {
  if (PyBool_Check(bytes.ptr()) || !PyIndex_Check(bytes.ptr())) {
    throw py::type_error(std::string("nbytes: expected a whole number of bytes, got ") +
                         Py_TYPE(bytes.ptr())->tp_name);
  }
  const Py_ssize_t n = PyNumber_AsSsize_t(bytes.ptr(), nullptr);
  if (n == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set();
  if (n < 1) throw py::value_error("nbytes: expected at least 1, got " + std::to_string(n));
  set_score_budget(static_cast<std::size_t>(n));
}

}  // namespace

void bind_cross_entropy(py::module_& module) {
  module.def("check_loss_options", &check_options, py::arg("options"));
  module.def("class_indices", &labels_as_indices, py::arg("t"), py::arg("shape"),
             py::arg("classes"), py::arg("ignored") = py::none());
  module.def("cross_entropy_forward", &cross_entropy_forward, py::arg("x"), py::arg("t"),
             py::arg("options"));
  module.def("cross_entropy_backward", &cross_entropy_backward, py::arg("x"), py::arg("t"),
             py::arg("options"), py::arg("dout"));
  module.def("linear_cross_entropy", &linear_loss, py::arg("x"), py::arg("W"), py::arg("t"),
             py::arg("b").none(true), py::arg("options"));
  module.def("linear_cross_entropy_with_grad", &linear_loss_with_grad, py::arg("x"), py::arg("W"),
             py::arg("t"), py::arg("b").none(true), py::arg("options"), py::arg("dout"),
             py::arg("dx").none(true), py::arg("dW").none(true), py::arg("db").none(true),
             py::arg("input_grad"));
  module.def("linear_top_k", &linear_best, py::arg("x"), py::arg("W"), py::arg("b").none(true),
             py::arg("k"), py::arg("softcap").none(true));
  module.def("set_score_budget", &set_budget, py::arg("nbytes"));
  module.def("get_score_budget", &score_budget);
}

}  // namespace nnext::bindings
