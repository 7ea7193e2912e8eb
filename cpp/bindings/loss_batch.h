// A batch of labelled rows under a softmax loss: what each row counts, and what becomes of the
// losses of all.
#pragma once

#include <vector>

#include "labels.h"
#include "loss_options.h"

namespace nnext::bindings {

class LossBatch {
 public:
  // The labels of rows of the given shape (see labels.h) and their weights, one for each row, or
  // None. With `kept` the labels are what an earlier batch kept. Raises
  // what Labels raises, and ValueError for weights of a wrong shape.
  LossBatch(const LossOptions& options, py::handle t, py::handle sample_weight, const Shape& shape,
            py::ssize_t classes, const ComputeType& type, bool kept = false);

  const Labels& labels() const { return labels_; }
  py::ssize_t size() const { return labels_.size(); }
  bool counts(py::ssize_t row) const { return labels_.index(row) != Labels::kIgnored; }

  // How much the batch counts beside others: what a mean divides by, the rows that count or the sum
  // of their weights; of a sum, or a loss for each row, the number of rows that count.
  double count() const {
    return options_.reduction() == Reduction::kMean ? count_ : static_cast<double>(rows_);
  }
  // EmptyBatchError if the loss is a mean over nothing; x has the rows.
  void require_any(const View& x) const;

  // The weights of the rows in an array of its own, or None.
  py::object kept_weights() const;

  // The gradient of the whole by each row's loss. dout is a number, or with "none" also an array of
  // the losses' shape.
  std::vector<double> factors(py::handle dout) const;

  // The losses of all rows reduced: a float, or with "none" an array. Rows that do not count have
  // loss 0.
  py::object reduced(std::vector<double>& losses, const ComputeType& type) const;

 private:
  template <class T>
  void weigh(py::ssize_t classes);

  const LossOptions& options_;
  Labels labels_;
  std::vector<double> sample_weight_;  // empty: 1
  double count_ = 0;
  py::ssize_t rows_ = 0;  // how many rows count
};

}  // namespace nnext::bindings
