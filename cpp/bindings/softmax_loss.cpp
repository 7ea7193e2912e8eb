// Softmax with cross-entropy loss.
#include <pybind11/stl.h>

#include <vector>

#include "gil.h"
#include "loss_batch.h"
#include "module.h"
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
};

// The loss, how much the batch counts, and what backward needs: the probabilities, the labels, the
// scores where the probabilities are not enough, the weights. None of it is memory of the caller's,
// who may change that before backward; copying the scores costs 9 % of both passes of (128, 1000)
// with softcap (Zen 5 EPYC). Probabilities of half-precision scores stay in float32, else the
// gradient of a probability next to 1 would have no digit left; the scores say what it rounds to.
py::tuple forward(py::handle x, py::handle t, const LossOptions& options, py::handle weight) {
  const Scores scores(x);
  const ComputeType& type = scores.type;
  const LossBatch batch(options, t, weight, scores.batch_shape(), scores.classes(), type);
  batch.require_any();
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
      batch.reduced(losses, type), batch.count(), y.owner(), batch.labels().kept(),
      needs_scores || type.half ? converted(scores.x, scores.x.dtype()).owner() : py::none(),
      batch.kept_weights());
}

// Everything is checked again: these are attributes of a layer, which its user may have replaced.
// x is None where forward kept no scores.
py::array backward(py::handle x, py::handle y_object, py::handle t, const LossOptions& options,
                   py::handle weight, py::handle dout) {
  const Scores y(y_object);
  const bool needs_scores = options.terms<double>(y.classes()).need_scores();
  const bool has_scores = needs_scores || !x.is_none();
  const View x_view = has_scores ? argument("x", x) : View();
  ComputeType type = y.type;
  if (has_scores) {
    require_same_shape(y.x, x_view);
    type = compute_type({&x_view});
  }
  const LossBatch batch(options, t, weight, y.batch_shape(), y.classes(), type, /*kept=*/true);
  batch.require_any();
  const std::vector<double> factor = batch.factors(dout);
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

}  // namespace

void bind_softmax_loss(py::module_& module) {
  module.def("softmax_loss_forward", &forward, py::arg("x"), py::arg("t"), py::arg("options"),
             py::arg("sample_weight").none(true));
  module.def("softmax_loss_backward", &backward, py::arg("x").none(true), py::arg("y"),
             py::arg("t"), py::arg("options"), py::arg("sample_weight").none(true),
             py::arg("dout"));
  module.def("class_indices", &class_indices, py::arg("t"), py::arg("shape"), py::arg("options"));
}

}  // namespace nnext::bindings
