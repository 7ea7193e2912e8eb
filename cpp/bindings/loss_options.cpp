// The options of a softmax loss; see loss_options.h.
#include "loss_options.h"

#include <cmath>

namespace nnext::bindings {
namespace {

// Positions in the tuple.
enum {
  kReduction,
  kIgnoreLabel,
  kSmoothing,
  kClassWeight,
  kSampleWeight,
  kZLoss,
  kSoftcap,
  kCount
};

[[noreturn]] void raise_value(const char* name, const char* expected, py::handle got) {
  throw py::value_error(std::string(name) + ": expected " + expected + ", got " +
                        py::repr(got).cast<std::string>());
}

Reduction reduction_of(py::handle object) {
  if (py::isinstance<py::str>(object)) {
    const auto name = object.cast<std::string>();
    if (name == "mean") return Reduction::kMean;
    if (name == "sum") return Reduction::kSum;
    if (name == "none") return Reduction::kNone;
  }
  raise_value("reduction", "'mean', 'sum' or 'none'", object);
}

std::optional<std::int64_t> label_of(py::handle object) {
  if (object.is_none()) return {};
  if (PyBool_Check(object.ptr()) || !PyIndex_Check(object.ptr())) {
    throw py::type_error(std::string("ignore_label: expected a whole number or None, got ") +
                         Py_TYPE(object.ptr())->tp_name);
  }
  const Py_ssize_t label = PyNumber_AsSsize_t(object.ptr(), PyExc_OverflowError);
  if (label == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set();
  return label;
}

std::optional<Argument> weights_of(const char* name, py::handle object) {
  if (object.is_none()) return {};
  Argument weight = argument(name, object);
  compute_type({&weight});  // a type that cannot be a weight raises
  return weight;
}

// The elements as double.
std::vector<double> doubles(const Argument& argument) {
  const py::array values = contiguous_operand(argument, ComputeType{true, {}});
  const double* const first = input<double>(values);
  return {first, first + values.size()};
}

}  // namespace

LossOptions::LossOptions(const py::tuple& options) {
  if (options.size() != kCount) throw py::type_error("options: expected 7 of them");
  reduction = reduction_of(options[kReduction]);
  ignore_label = label_of(options[kIgnoreLabel]);
  smoothing = number("label_smoothing", options[kSmoothing]);
  if (!(smoothing >= 0 && smoothing < 1)) {
    raise_value("label_smoothing", "a number in [0, 1)", options[kSmoothing]);
  }
  class_weight = weights_of("class_weight", options[kClassWeight]);
  sample_weight = weights_of("sample_weight", options[kSampleWeight]);
  z_loss = number("z_loss", options[kZLoss]);
  if (!(z_loss >= 0 && std::isfinite(z_loss))) {
    raise_value("z_loss", "a finite number of at least 0", options[kZLoss]);
  }
  softcap = 0;
  if (!py::handle(options[kSoftcap]).is_none()) {
    softcap = number("softcap", options[kSoftcap]);
    // As a float it must be neither 0 nor infinite.
    const auto as_float = static_cast<float>(softcap);
    if (!(as_float > 0 && std::isfinite(as_float))) {
      raise_value("softcap", "a finite number above 0, or None", options[kSoftcap]);
    }
  }
}

LabelledBatch::LabelledBatch(const LossOptions& options, py::handle t,
                             const std::vector<py::ssize_t>& shape, py::ssize_t classes,
                             const ComputeType& type)
    : options_(options),
      labels_(class_indices(t, shape, classes, options.ignore_label)),
      weight_sum_(static_cast<double>(classes)) {
  std::vector<double> weight;
  if (options.class_weight) {
    if (shape_of(options.class_weight->array) != std::vector<py::ssize_t>{classes}) {
      throw py::value_error("class_weight: expected shape (" + std::to_string(classes) +
                            ",), one for each class, got " +
                            shape_text(options.class_weight->array));
    }
    class_weight_ = contiguous_operand(*options.class_weight, type);
    // As the core sees them: in the type computed in.
    weight = doubles({"class_weight", class_weight_});
    weight_sum_ = 0;
    for (const double w : weight) weight_sum_ += w;
  }
  if (options.sample_weight) {
    if (shape_of(options.sample_weight->array) != shape) {
      throw py::value_error("sample_weight: expected shape " + shape_text(shape) +
                            ", that of the labels, got " +
                            shape_text(options.sample_weight->array));
    }
    sample_weight_ = doubles(*options.sample_weight);
  }
  total_ = 0;
  bool any = false;
  const auto* const label = input<std::int64_t>(labels_);
  for (index_t i = 0; i < size(); ++i) {
    if (label[i] < 0) continue;
    any = true;
    const double of_class = weight.empty() ? 1 : weight[static_cast<std::size_t>(label[i])];
    total_ +=
        sample_weight_.empty() ? of_class : of_class * sample_weight_[static_cast<std::size_t>(i)];
  }
  if (options.reduction != Reduction::kMean) return;
  if (!any) {
    throw py::value_error(size() == 0
                              ? "t: expected at least 1 sample for a mean loss, got shape " +
                                    shape_text(shape)
                              : "t: expected at least 1 label that is not ignored for a mean loss, "
                                "got shape " +
                                    shape_text(shape) + " with none");
  }
  if (total_ == 0) {
    throw py::value_error("t: the weights of all labels add up to 0, a mean loss divides by that");
  }
}

std::vector<double> LabelledBatch::factors(py::handle dout) const {
  std::vector<double> factor(static_cast<std::size_t>(size()));
  const Argument values =
      options_.reduction == Reduction::kNone ? argument("dout", dout) : Argument{"dout", {}};
  if (options_.reduction == Reduction::kNone && values.array.ndim() > 0) {
    if (shape_of(values.array) != shape_of(labels_)) {
      throw py::value_error("dout: expected a number or shape " + shape_text(labels_) +
                            ", that of the losses, got " + shape_text(values.array));
    }
    compute_type({&values});
    factor = doubles(values);
  } else {
    const double whole = number("dout", dout);
    std::fill(factor.begin(), factor.end(),
              options_.reduction == Reduction::kMean ? whole / total_ : whole);
  }
  for (std::size_t i = 0; i < sample_weight_.size(); ++i) factor[i] *= sample_weight_[i];
  return factor;
}

py::object LabelledBatch::reduced(std::vector<double>& losses, const ComputeType& type) const {
  for (std::size_t i = 0; i < sample_weight_.size(); ++i) {
    if (input<std::int64_t>(labels_)[i] >= 0) losses[i] *= sample_weight_[i];
  }
  if (options_.reduction == Reduction::kNone) {
    py::array result = new_array(type, labels_.ndim(), labels_.shape());
    with_type(type, [&](auto zero) {
      using T = decltype(zero);
      T* const to = output<T>(result);
      for (std::size_t i = 0; i < losses.size(); ++i) to[i] = static_cast<T>(losses[i]);
    });
    return finished(result, type);
  }
  double sum = 0;
  for (const double loss : losses) sum += loss;
  return py::float_(options_.reduction == Reduction::kMean ? sum / total_ : sum);
}

}  // namespace nnext::bindings
