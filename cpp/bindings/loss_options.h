// The options of a softmax loss as they come from Python, checked.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "arrays.h"
#include "nnext/cross_entropy.h"

namespace nnext::bindings {

enum class Reduction { kMean, kSum, kNone };

// What does not depend on the scores: (reduction, ignore_label, label_smoothing, class_weight,
// sample_weight, z_loss, softcap), in this order.
struct LossOptions {
  Reduction reduction;
  std::optional<std::int64_t> ignore_label;
  double smoothing;
  std::optional<Argument> class_weight;
  std::optional<Argument> sample_weight;
  double z_loss;
  double softcap;  // 0: none

  // ValueError for a value out of its range, TypeError for one of a wrong type.
  explicit LossOptions(const py::tuple& options);
};

// The labels of a batch and what each of its losses counts.
class LabelledBatch {
 public:
  // Labels of shape `shape`: indices in [0, classes) of any integer type, or one-hot rows of
  // `classes` elements. Raises IndexError for another label, unless it is the ignored one,
  // ValueError for weights of a wrong length and for a mean over nothing.
  LabelledBatch(const LossOptions& options, py::handle t, const std::vector<py::ssize_t>& shape,
                py::ssize_t classes, const ComputeType& type);

  // int64, -1 where ignored; the shape is that of the losses.
  const py::array& labels() const { return labels_; }
  index_t size() const { return labels_.size(); }
  const py::array& class_weight() const { return class_weight_; }  // empty where there is none

  // The options as the core has them; the class weights belong to this.
  template <class T>
  LossTerms<T> terms() const {
    LossTerms<T> terms;
    if (options_.class_weight) terms.class_weight = input<T>(class_weight_);
    terms.weight_sum = weight_sum_;
    terms.smoothing = options_.smoothing;
    terms.z_loss = options_.z_loss;
    terms.softcap = static_cast<T>(options_.softcap);
    return terms;
  }

  // The gradient of the whole by each row's loss. dout is a number, or with "none" also an array of
  // the losses' shape.
  std::vector<double> factors(py::handle dout) const;

  // The losses of all rows reduced: a float, or with "none" an array. Ignored rows have loss 0.
  py::object reduced(std::vector<double>& losses, const ComputeType& type) const;

 private:
  const LossOptions& options_;
  py::array labels_;
  py::array class_weight_;
  double weight_sum_;
  std::vector<double> sample_weight_;  // empty: 1
  double total_;                       // what a mean divides by
};

}  // namespace nnext::bindings
