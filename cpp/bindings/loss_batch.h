// A batch of labelled rows under a softmax loss: what each row counts, and what becomes of the
// losses of all.
#pragma once

#include "labels.h"
#include "loss_options.h"
#include "row_weights.h"

namespace nnext::bindings {

class LossBatch {
 public:
  // The labels of rows of the given shape (see labels.h) and their weights, one for each row, or
  // None. With `kept` the labels are what an earlier batch kept. Raises what Labels and RowWeights
  // raise.
  LossBatch(const LossOptions& options, py::handle t, const Counting& counting, const Shape& shape,
            py::ssize_t classes, const ComputeType& type, bool kept = false);

  const Labels& labels() const { return labels_; }
  py::ssize_t size() const { return labels_.size(); }
  bool counts(py::ssize_t row) const { return labels_.index(row) != Labels::kIgnored; }

  // How much the batch counts beside others; see RowWeights::total.
  double count() const { return rows_.total(); }
  // EmptyBatchError if the loss is a mean over nothing; x has the rows.
  void require_any(const View& x) const;

  const RowWeights& rows() const { return rows_; }

 private:
  template <class T>
  void weigh(py::ssize_t classes);

  const LossOptions& options_;
  Labels labels_;
  RowWeights rows_;
};

}  // namespace nnext::bindings
