// A batch under a softmax loss; see loss_batch.h.
#include "loss_batch.h"

#include "module.h"
#include "scalars.h"

namespace nnext::bindings {
namespace {

// The class nnext.EmptyBatchError; made with the module, never freed.
PyObject* empty_batch_error = nullptr;

std::vector<double> doubles(const View& array) {
  const View values = contiguous_operand(array, ComputeType{true, {}});
  return {input<double>(values), input<double>(values) + values.size()};
}

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

LossBatch::LossBatch(const LossOptions& options, py::handle t, py::handle sample_weight,
                     const Shape& shape, py::ssize_t classes, const ComputeType& type, bool kept)
    : options_(options), labels_(t, shape, classes, options.ignore_label(), type, kept) {
  options.check_classes(classes);
  if (!sample_weight.is_none()) {
    const View weight = argument("sample_weight", sample_weight);
    compute_type({&weight});  // a type that cannot be a weight raises
    if (shape_of(weight) != shape) {
      throw py::value_error("sample_weight: expected shape " + shape_text(shape) +
                            ", that of the labels, got " + shape_text(weight));
    }
    sample_weight_ = doubles(weight);
  }
  with_type(type, [&](auto zero) { weigh<decltype(zero)>(classes); });
}

// Sums up what the rows count; a row that counts 0 is left out as an ignored one, whatever its
// scores. (Smoothing and z loss are counted for every class: then a class weight of 0 is not all.)
template <class T>
void LossBatch::weigh(py::ssize_t classes) {
  const LossTerms<T> terms = options_.terms<T>(classes);
  const bool only_weight = terms.smoothing == 0 && terms.z_loss == 0;
  for (py::ssize_t i = 0; i < size(); ++i) {
    if (!counts(i)) continue;
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
    const double own = sample_weight_.empty() ? 1 : sample_weight_[static_cast<std::size_t>(i)];
    if (own == 0 || (weight == 0 && only_weight)) {
      labels_.ignore(i);
      continue;
    }
    ++rows_;
    count_ += own * weight;
  }
}

void LossBatch::require_any(const View& x) const {
  if (options_.reduction() != Reduction::kMean || count_ != 0) return;
  if (size() == 0) {
    raise_empty_batch("x: expected at least 1 sample for a mean loss, got shape " + shape_text(x));
  }
  if (rows_ == 0) {
    raise_empty_batch(
        "t: expected at least 1 label that is not ignored and has a weight for a mean loss, got "
        "shape " +
        shape_text(labels_.index()) + " with none: the weights add up to 0");
  }
  raise_empty_batch("t: the weights of all labels add up to 0, a mean loss divides by that");
}

py::object LossBatch::kept_weights() const {
  if (sample_weight_.empty()) return py::none();
  const View& rows = labels_.index();
  const View weights = new_array(py::dtype::of<double>(), rows.ndim(), rows.shape());
  std::copy(sample_weight_.begin(), sample_weight_.end(), output<double>(weights));
  return weights.owner();
}

std::vector<double> LossBatch::factors(py::handle dout) const {
  std::vector<double> factor(static_cast<std::size_t>(size()));
  const bool is_none = options_.reduction() == Reduction::kNone;
  const View values = is_none ? argument("dout", dout) : View();
  if (values.ndim() > 0) {
    if (!same_shape(values, labels_.index())) {
      throw py::value_error("dout: expected a number or shape " + shape_text(labels_.index()) +
                            ", that of the losses, got " + shape_text(values));
    }
    compute_type({&values});
    factor = doubles(values);
  } else {
    std::fill(factor.begin(), factor.end(), number("dout", dout));
  }
  // Weighed first, then divided: weights may be so small that one by their sum is infinite.
  for (std::size_t i = 0; i < sample_weight_.size(); ++i) factor[i] *= sample_weight_[i];
  if (options_.reduction() == Reduction::kMean) {
    for (double& f : factor) f /= count_;
  }
  return factor;
}

py::object LossBatch::reduced(std::vector<double>& losses, const ComputeType& type) const {
  for (std::size_t i = 0; i < sample_weight_.size(); ++i) {
    if (counts(static_cast<py::ssize_t>(i))) losses[i] *= sample_weight_[i];
  }
  if (options_.reduction() == Reduction::kNone) {
    const View result = new_array(type, labels_.index().ndim(), labels_.index().shape());
    with_type(type, [&](auto zero) {
      using T = decltype(zero);
      for (std::size_t i = 0; i < losses.size(); ++i) {
        output<T>(result)[i] = static_cast<T>(losses[i]);
      }
    });
    return finished(result, type);
  }
  double sum = 0;
  for (const double loss : losses) sum += loss;
  return py::float_(options_.reduction() == Reduction::kMean ? sum / count_ : sum);
}

}  // namespace nnext::bindings
