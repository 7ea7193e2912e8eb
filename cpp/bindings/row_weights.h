// What the rows of a batch count, and what becomes of their losses: for every loss.
#pragma once

#include <optional>
#include <vector>

#include "view.h"

namespace nnext::bindings {

enum class Reduction { kMean, kSum, kNone };

// From "mean", "sum" or "none"; ValueError for anything else.
Reduction reduction_of(py::handle object);
const char* name_of(Reduction reduction);

// How the rows of a batch are counted, as the caller says it.
struct Counting {
  py::handle weights;             // None, for 1 each, or an array of the shape of the rows
  py::handle count = py::none();  // what a mean divides by, where the batch is part of a larger one
  double before = 0;              // what the rows before these count
};

class RowWeights {
 public:
  // ValueError for weights of another shape than that of the rows, below 0 or not finite, for a
  // `count` that is not above 0, or where nothing is divided, and a `before` that is below 0.
  RowWeights(Reduction reduction, const Counting& counting, const Shape& shape);

  py::ssize_t size() const { return size_; }
  const Shape& shape() const { return shape_; }
  // What the caller weighs row i with.
  double operator[](py::ssize_t i) const {
    return weights_.empty() ? 1 : weights_[static_cast<std::size_t>(i)];
  }

  // Every row is counted once, with its own weight times `share`, or left out.
  void count(py::ssize_t i, double share) {
    ++rows_;
    sum_ += (*this)[i] * share;
  }
  void leave_out(py::ssize_t i) {
    if (!weights_.empty()) weights_[static_cast<std::size_t>(i)] = 0;
  }
  // Counts all rows but those of weight 0.
  void count_all();

  py::ssize_t counted() const { return rows_; }
  // How much the batch counts beside others: what a mean divides by, the sum of the weights; of a
  // sum, or a loss for each row, the number of rows that count.
  double total() const;
  // ValueError if the weights of a mean add up to infinity.
  void require_finite_total() const;
  // Whether the loss is a mean over nothing.
  bool is_mean_of_nothing() const { return reduction_ == Reduction::kMean && total() == 0; }

  // The weights in an array of its own, or None.
  py::object kept() const;

  // The gradient of the whole by each row's loss. dout is a number, or with "none" also an array of
  // the losses' shape.
  std::vector<double> factors(py::handle dout) const;

  // The losses of all rows reduced: a float, or with "none" an array. A row that was left out has
  // loss 0 there, if it was given a weight.
  py::object reduced(std::vector<double>& losses, const ComputeType& type) const;

 private:
  Reduction reduction_;
  Shape shape_;
  py::ssize_t size_;
  std::vector<double> weights_;  // empty: 1
  std::optional<double> given_;  // what to divide by, if that is not the sum
  double before_ = 0;
  double sum_ = 0;
  py::ssize_t rows_ = 0;
};

// The elements in float64.
std::vector<double> doubles(const View& array);

}  // namespace nnext::bindings
