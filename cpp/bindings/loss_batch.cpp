// A batch under a softmax loss; see loss_batch.h.
#include "loss_batch.h"

#include "module.h"

namespace nnext::bindings {
namespace {

// The class nnext.EmptyBatchError; made with the module, never freed.
PyObject* empty_batch_error = nullptr;

}  // namespace

void raise_empty_batch(const std::string& message) {
  PyErr_SetString(empty_batch_error, message.c_str());
  throw py::error_already_set();
}

void bind_loss_batch(py::module_& module) {
  empty_batch_error = PyErr_NewExceptionWithDoc(
      "nnext.EmptyBatchError",
      "A mean loss over nothing: no rows, none that counts, or weights that add up to 0.",
      PyExc_ValueError, nullptr);
  if (empty_batch_error == nullptr) throw py::error_already_set();
  module.attr("EmptyBatchError") = py::handle(empty_batch_error);
}

LossBatch::LossBatch(const LossOptions& options, py::handle t, const Counting& counting,
                     const Shape& shape, py::ssize_t classes, const ComputeType& type, bool kept)
    : options_(options),
      labels_(t, shape, classes, options.ignore_label(), type, kept),
      rows_(options.reduction(), counting, shape) {
  options.check_classes(classes);
  with_type(type, [&](auto zero) { weigh<decltype(zero)>(classes); });
}

// Sums up what the rows count; a row that counts 0 is left out as an ignored one, whatever its
// scores. (Smoothing and z loss are counted for every class: then a class weight of 0 is not all.)
template <class T>
void LossBatch::weigh(py::ssize_t classes) {
  const LossTerms<T> terms = options_.terms<T>(classes);
  const bool only_weight = terms.smoothing == 0 && terms.z_loss == 0;
  for (py::ssize_t i = 0; i < size(); ++i) {
    if (!counts(i)) {
      rows_.leave_out(i);
      continue;
    }
    double weight = 1;
    if (terms.class_weight != nullptr) {
      const std::int64_t label = labels_.index(i);
      if (label >= 0) {
        weight = static_cast<double>(terms.class_weight[label]);
      } else {
        const T* const soft = input<T>(labels_.soft()) + i * classes;
        weight = 0;
        for (py::ssize_t c = 0; c < classes; ++c) {
          weight += static_cast<double>(soft[c]) * static_cast<double>(terms.class_weight[c]);
        }
      }
    }
    if (rows_[i] == 0 || (weight == 0 && only_weight)) {
      labels_.ignore(i);
      rows_.leave_out(i);
    } else {
      rows_.count(i, weight);
    }
  }
}

void LossBatch::require_any(const View& x) const {
  rows_.require_finite_total();
  if (!rows_.is_mean_of_nothing()) return;
  if (size() == 0) {
    raise_empty_batch("x: expected at least 1 sample for a mean loss, got shape " + shape_text(x));
  }
  if (rows_.counted() == 0) {
    raise_empty_batch(
        "t: expected at least 1 label that is not ignored and has a weight for a mean loss, got "
        "shape " +
        shape_text(labels_.index()) + " with none: the weights add up to 0");
  }
  raise_empty_batch("t: the weights of all labels add up to 0, a mean loss divides by that");
}

}  // namespace nnext::bindings
