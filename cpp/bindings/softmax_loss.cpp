// Softmax with cross-entropy loss.
#include <pybind11/stl.h>

#include <algorithm>
#include <vector>

#include "gil.h"
#include "loss_batch.h"
#include "module.h"
#include "nnext/elementwise.h"
#include "nnext/softmax.h"
#include "scalars.h"

namespace nnext::bindings {
namespace {

// Scores, (..., C).
struct Scores {
  View x;
  ComputeType type;

  explicit Scores(py::handle object) : x(argument("x", object)), type(compute_type({&x})) {
    require_axis(x);
  }
  py::ssize_t classes() const { return x.shape(x.ndim() - 1); }
  Shape batch_shape() const { return {x.shape(), x.shape() + x.ndim() - 1}; }

  // In the type computed in, C-contiguous, and capped if the options say so.
  View capped(const LossOptions& options) const {
    View values = contiguous_operand(x, type);
    if (options.softcap() == 0) return values;
    const View result = new_like(type, values);
    with_type(type, [&](auto zero) {
      using T = decltype(zero);
      const MaybeReleaseGil release(static_cast<double>(values.size()));
      std::copy_n(input<T>(values), values.size(), output<T>(result));
      softcap<T>(output<T>(result), result.size(), static_cast<T>(options.softcap()));
    });
    return result;
  }
};

// The loss, how much the batch counts, and what backward needs: the probabilities, the labels, the
// scores where the probabilities are not enough, the weights. None of it is memory of the caller's,
// who may change that before backward; copying the scores costs 9 % of both passes of (128, 1000)
// with softcap (Zen 5 EPYC). Probabilities of half-precision scores stay in float32, else the
// gradient of a probability next to 1 would have no digit left; the scores say what it rounds to.
py::tuple forward(py::handle x, py::handle t, const LossOptions& options, py::handle weight,
                  py::handle count) {
  const Scores scores(x);
  const ComputeType& type = scores.type;
  const LossBatch batch(options, t, {weight, count}, scores.batch_shape(), scores.classes(), type);
  batch.require_any(scores.x);
  const View values = contiguous_operand(scores.x, type);
  const View y = new_like(type, values);
  std::vector<double> losses(static_cast<std::size_t>(batch.size()));
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(4.0 * static_cast<double>(values.size()));
    softmax_loss<T>(input<T>(values), output<T>(y), batch.size(), scores.classes(),
                    batch.labels().rows<T>(), options.terms<T>(scores.classes()), losses.data());
  });
  const bool needs_scores = options.terms<double>(scores.classes()).need_scores();
  return py::make_tuple(
      batch.rows().reduced(losses, type), batch.count(), y.owner(), batch.labels().kept(),
      needs_scores || type.half ? converted(scores.x, scores.x.dtype()).owner() : py::none(),
      batch.rows().kept());
}

// Everything is checked again: these are attributes of a layer, which its user may have replaced.
// x is None where forward kept no scores.
py::array backward(py::handle x, py::handle y_object, py::handle t, const LossOptions& options,
                   py::handle weight, py::handle dout, py::handle count) {
  const Scores y(y_object);
  const bool needs_scores = options.terms<double>(y.classes()).need_scores();
  const bool has_scores = needs_scores || !x.is_none();
  const View x_view = has_scores ? argument("x", x) : View();
  ComputeType type = y.type;
  if (has_scores) {
    require_same_shape(y.x, x_view);
    type = compute_type({&x_view});
  }
  const LossBatch batch(options, t, {weight, count}, y.batch_shape(), y.classes(), type,
                        /*kept=*/true);
  batch.require_any(y.x);
  const std::vector<double> factor = batch.rows().factors(dout);
  const View values = contiguous_operand(y.x, type);
  const View scores = needs_scores ? contiguous_operand(x_view, type) : View();
  const View dx = new_like(type, values);
  with_type(type, [&](auto zero) {
    using T = decltype(zero);
    const LossTerms<T> terms = options.terms<T>(y.classes());
    const MaybeReleaseGil release((needs_scores ? 4.0 : 1.0) * static_cast<double>(values.size()));
    softmax_loss_backward<T>(input<T>(scores), input<T>(values), output<T>(dx), batch.size(),
                             y.classes(), batch.labels().rows<T>(), terms, factor.data());
  });
  return finished(dx, type);
}

py::array probabilities(py::handle x, const LossOptions& options) {
  const Scores scores(x);
  const View values = scores.capped(options);
  const View y = new_like(scores.type, values);
  const py::ssize_t classes = scores.classes();
  with_type(scores.type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(4.0 * static_cast<double>(values.size()));
    const py::ssize_t rows = classes > 0 ? values.size() / classes : 0;
    softmax<T>(input<T>(values), output<T>(y), rows, classes);
  });
  return finished(y, scores.type);
}

// The class with the largest score of each row, of equal ones the first; NaN counts as -inf.
py::object predictions(py::handle x, const LossOptions& options) {
  const Scores scores(x);
  const py::ssize_t classes = scores.classes();
  if (classes == 0) {
    throw py::value_error("x: expected scores of at least 1 class, got shape " +
                          shape_text(scores.x));
  }
  const View values = scores.capped(options);
  const View best = new_array(int64_type(), scores.batch_shape());
  with_type(scores.type, [&](auto zero) {
    using T = decltype(zero);
    const MaybeReleaseGil release(static_cast<double>(values.size()));
    best_class<T>(input<T>(values), output<std::int64_t>(best), best.size(), classes);
  });
  return best.owner();
}

// Labels for scores of a shape, (..., C), as class indices, -1 where ignored; a soft row becomes
// its most probable class.
py::object class_indices(py::handle t, Shape shape, const LossOptions& options) {
  if (shape.empty()) {
    throw py::value_error("shape: expected that of scores, with an axis of classes, got ()");
  }
  const py::ssize_t classes = shape.back();
  shape.pop_back();
  const Labels labels(t, shape, classes, options.ignore_label(), ComputeType{true, {}});
  return labels.best();
}

// What a mean over these rows divides by, and over rows before that have `before`. x has the type
// of their scores, and their shape but for the number of rows.
double count(py::handle x, py::handle t, const LossOptions& options, py::handle weight,
             py::handle before) {
  const Scores scores(x);
  Shape shape = scores.batch_shape();
  if (shape.empty())
    throw py::value_error("x: expected rows of scores, got shape " + shape_text(scores.x));
  const View labels = argument("t", t);
  if (labels.ndim() > 0) shape[0] = labels.shape(0);
  const LossBatch batch(options, t, {weight, py::none(), number("before", before)}, shape,
                        scores.classes(), scores.type);
  batch.rows().require_finite_total();
  return batch.count();
}

}  // namespace

void bind_softmax_loss(py::module_& module) {
  module.def("softmax_loss_forward", &forward, py::arg("x"), py::arg("t"), py::arg("options"),
             py::arg("sample_weight").none(true), py::arg("count") = py::none());
  module.def("softmax_loss_backward", &backward, py::arg("x").none(true), py::arg("y"),
             py::arg("t"), py::arg("options"), py::arg("sample_weight").none(true), py::arg("dout"),
             py::arg("count") = py::none());
  module.def("softmax_loss_count", &count, py::arg("x"), py::arg("t"), py::arg("options"),
             py::arg("sample_weight").none(true), py::arg("before") = 0.0);
  module.def("softmax_probabilities", &probabilities, py::arg("x"), py::arg("options"));
  module.def("softmax_predictions", &predictions, py::arg("x"), py::arg("options"));
  module.def("class_indices", &class_indices, py::arg("t"), py::arg("shape"), py::arg("options"));
}

}  // namespace nnext::bindings
