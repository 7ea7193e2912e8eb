// A linear layer and its softmax loss in one: the scores are never whole.
#include <new>
#include <optional>

#include "gil.h"
#include "linear.h"
#include "loss_batch.h"
#include "module.h"
#include "nnext/elementwise.h"
#include "nnext/linear_cross_entropy.h"
#include "nnext/softmax.h"
#include "scalars.h"
#include "target.h"

namespace nnext::bindings {
namespace {

// The layer's arrays in the type computed in.
struct LayerArrays {
  Rows x;
  View w;
  View b;

  explicit LayerArrays(const LinearArguments& in)
      : x(in.x, in.type),
        w(operand(in.w, in.type)),
        b(in.has_bias ? contiguous_operand(in.b, in.type) : View()) {}

  template <class T>
  LinearScores<T> scores() const {
    return {x.view<T>(), matrix_view<const T>(w), b.size() > 0 ? input<T>(b) : nullptr};
  }
  double flops_of(double products) const { return products * flops(x.rows, x.cols, w.shape(1)); }
};

// Runs f of the type computed in; says what it was for if there is not enough memory.
template <class F>
void with_memory(const LinearArguments& in, const F& f) {
  try {
    with_type(in.type, f);
  } catch (const std::bad_alloc&) {
    PyErr_Format(PyExc_MemoryError,
                 "cannot allocate room for the scores of x of shape %s with W of shape %s",
                 shape_text(in.x).c_str(), shape_text(in.w).c_str());
    throw py::error_already_set();
  }
}

// The rows that count, one after another, and their losses.
struct CountingRows {
  std::vector<index_t> row;
  std::vector<std::int64_t> t;
  std::vector<const void*> soft;  // empty where no row is soft
  std::vector<double> factor;
  std::vector<double> loss;
  std::vector<double> loss_of_all;  // 0 for rows that do not count

  // `factors` of all rows, or empty for no gradient.
  CountingRows(const LossBatch& batch, const std::vector<double>& factors)
      : loss_of_all(static_cast<std::size_t>(batch.size())) {
    const RowLabels<char> labels = batch.labels().rows<char>();
    for (index_t i = 0; i < batch.size(); ++i) {
      if (!batch.counts(i)) continue;
      row.push_back(i);
      t.push_back(labels.index[i]);
      if (labels.soft != nullptr) soft.push_back(labels.soft[i]);
      if (!factors.empty()) factor.push_back(factors[static_cast<std::size_t>(i)]);
    }
    loss.resize(row.size());
  }
  template <class T>
  LabelledRows<T> view() {
    const auto* const rows = reinterpret_cast<const T* const*>(soft.data());
    return {row.data(),
            {t.data(), soft.empty() ? nullptr : rows},
            factor.empty() ? nullptr : factor.data(),
            loss.data(),
            static_cast<index_t>(row.size())};
  }
  std::vector<double>& losses() {
    for (std::size_t i = 0; i < row.size(); ++i) {
      loss_of_all[static_cast<std::size_t>(row[i])] = loss[i];
    }
    return loss_of_all;
  }
};

// The loss and what a mean divides by.
py::tuple linear_loss(py::handle x, py::handle w, py::handle t, py::handle b,
                      const LossOptions& options, py::handle weight, py::handle count) {
  const LinearArguments in(x, w, b);
  const LossBatch batch(options, t, {weight, count}, in.batch_shape(), in.width(), in.type);
  batch.require_any(in.x);
  const LayerArrays arrays(in);
  CountingRows rows(batch, {});
  with_memory(in, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(arrays.flops_of(1));
    linear_cross_entropy<T>(arrays.scores<T>(), rows.view<T>(), options.terms<T>(in.width()),
                            nullptr);
  });
  return py::make_tuple(batch.rows().reduced(rows.losses(), in.type), batch.count());
}

// An array of the caller to write into, or a new one like `like`, in its memory order: a transposed
// view gets a transposed gradient.
Target target_or_new(const char* name, py::handle object, const View& like,
                     const ComputeType& type) {
  if (!object.is_none()) return {name, object, shape_of(like)};
  const py::object dtype =
      type.half ? type.half
                : py::object(type.is_double ? py::dtype::of<double>() : py::dtype::of<float>());
  const py::object made = py::module_::import("numpy").attr("empty_like")(
      like.private_array(), py::arg("dtype") = dtype, py::arg("subok") = false);
  return {name, made, shape_of(like)};
}

py::tuple linear_loss_with_grad(py::handle x, py::handle w, py::handle t, py::handle b,
                                const LossOptions& options, py::handle weight, py::handle dout,
                                py::handle dx_object, py::handle dw_object, py::handle db_object,
                                py::handle input_grad, py::handle count, py::handle accumulate) {
  const LinearArguments in(x, w, b);
  const ComputeType& type = in.type;
  const LossBatch batch(options, t, {weight, count}, in.batch_shape(), in.width(), type);
  batch.require_any(in.x);
  const std::vector<double> factors = batch.rows().factors(dout);
  const bool needs_dx = truth(input_grad);
  const SumInto into = sum_into(accumulate);
  std::optional<Target> dx;
  if (needs_dx) {
    if (dx_object.is_none()) {
      const View made =
          type.half ? new_array(py::reinterpret_borrow<py::dtype>(type.half), shape_of(in.x))
                    : new_like(type, in.x);
      dx.emplace("dx", made.owner(), shape_of(in.x));
    } else {
      dx.emplace("dx", dx_object, shape_of(in.x));
    }
  }
  Target dw = target_or_new("dW", dw_object, in.w, type);
  std::optional<Target> db;
  if (in.has_bias) {
    db.emplace(target_or_new("db", db_object, in.b, type));
  } else if (!db_object.is_none()) {
    throw py::value_error("db: there is no b to have a gradient");
  }
  Target* const dx_target = dx ? &*dx : nullptr;
  Target* const db_target = db ? &*db : nullptr;
  if (db) db->require_apart(dw);
  if (dx) dx->require_apart(dw);
  if (dx && db) dx->require_apart(*db);

  const LayerArrays arrays(in);
  const bool in_place = may_write_in_place({&dw, db_target, dx_target}, type);
  const auto inputs = {&arrays.x.array, &arrays.w, &arrays.b, &batch.labels().soft()};
  dw.prepare(type, is_writable_layout(dw.original()), in_place, inputs, into);
  if (db) db->prepare(type, db->original().is_c_contiguous(), in_place, inputs, into);
  if (dx) dx->prepare(type, dx->original().is_c_contiguous(), in_place, inputs);
  CountingRows rows(batch, factors);
  with_memory(in, [&](auto zero) {
    using T = decltype(zero);
    const LinearGradients<T> gradients{
        {dx ? output<T>(dx->array()) : nullptr, arrays.x.rows, arrays.x.cols, arrays.x.cols, 1},
        matrix_view<T>(dw.array()),
        db ? output<T>(db->array()) : nullptr,
        into};
    const MaybeReleaseGil release(arrays.flops_of(3));
    linear_cross_entropy<T>(arrays.scores<T>(), rows.view<T>(), options.terms<T>(in.width()),
                            &gradients);
  });
  const py::object loss = batch.rows().reduced(rows.losses(), type);
  commit({&dw, db_target, dx_target});
  const auto object_of = [](const std::optional<Target>& target) {
    return target ? target->object() : py::none();
  };
  return py::make_tuple(loss, batch.count(), object_of(dx), dw.object(), object_of(db));
}

// All scores (..., V), capped, in the type computed in.
View whole_scores(const LinearArguments& in, const LossOptions& options) {
  const View z = linear_output(in);
  if (options.softcap() == 0) return z;
  with_type(in.type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(static_cast<double>(z.size()));
    softcap<T>(output<T>(z), z.size(), static_cast<T>(options.softcap()));
  });
  return z;
}

py::array linear_scores(py::handle x, py::handle w, py::handle b, const LossOptions& options) {
  const LinearArguments in(x, w, b);
  return finished(whole_scores(in, options), in.type);
}

// Of scores that are not rounded to half precision first: they keep the order that top_k sees.
py::array linear_probabilities(py::handle x, py::handle w, py::handle b,
                               const LossOptions& options) {
  const LinearArguments in(x, w, b);
  const View z = whole_scores(in, options);
  const View y = new_like(in.type, z);
  with_type(in.type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(4.0 * static_cast<double>(z.size()));
    const py::ssize_t rows = in.width() > 0 ? z.size() / in.width() : 0;
    softmax<T>(input<T>(z), output<T>(y), rows, in.width());
  });
  return finished(y, in.type);
}

py::tuple linear_best(py::handle x, py::handle w, py::handle b, py::handle k_object,
                      const LossOptions& options) {
  const LinearArguments in(x, w, b);
  const std::int64_t k = whole_number("k", k_object);
  if (k < 1 || k > in.width()) {
    throw py::value_error("k: expected a number from 1 to the " + std::to_string(in.width()) +
                          " classes, got " + std::to_string(k));
  }
  const LayerArrays arrays(in);
  Shape shape = in.batch_shape();
  shape.push_back(k);
  const View classes = new_array(int64_type(), shape);
  const View log_prob = new_array(in.type, shape);
  with_memory(in, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(arrays.flops_of(1));
    linear_top_k<T>(arrays.scores<T>(), static_cast<T>(options.softcap()), k,
                    output<std::int64_t>(classes), output<T>(log_prob));
  });
  return py::make_tuple(classes.owner(), finished(log_prob, in.type));
}

void set_budget(py::handle bytes) {
  const std::int64_t n = whole_number("nbytes", bytes);
  if (n < 1) throw py::value_error("nbytes: expected at least 1, got " + std::to_string(n));
  set_score_budget(static_cast<std::size_t>(n));
}

}  // namespace

void bind_linear_loss(py::module_& module) {
  module.def("linear_cross_entropy", &linear_loss, py::arg("x"), py::arg("W"), py::arg("t"),
             py::arg("b").none(true), py::arg("options"), py::arg("sample_weight").none(true),
             py::arg("count") = py::none());
  module.def("linear_cross_entropy_with_grad", &linear_loss_with_grad, py::arg("x"), py::arg("W"),
             py::arg("t"), py::arg("b").none(true), py::arg("options"),
             py::arg("sample_weight").none(true), py::arg("dout"), py::arg("dx").none(true),
             py::arg("dW").none(true), py::arg("db").none(true), py::arg("input_grad"),
             py::arg("count") = py::none(), py::arg("accumulate") = false);
  module.def("linear_scores", &linear_scores, py::arg("x"), py::arg("W"), py::arg("b").none(true),
             py::arg("options"));
  module.def("linear_probabilities", &linear_probabilities, py::arg("x"), py::arg("W"),
             py::arg("b").none(true), py::arg("options"));
  module.def("linear_top_k", &linear_best, py::arg("x"), py::arg("W"), py::arg("b").none(true),
             py::arg("k"), py::arg("options"));
  module.def("set_score_budget", &set_budget, py::arg("nbytes"));
  module.def("get_score_budget", &score_budget);
}

}  // namespace nnext::bindings
