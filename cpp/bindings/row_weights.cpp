// What rows count; see row_weights.h.
#include "row_weights.h"

#include <cmath>

#include "scalars.h"

namespace nnext::bindings {
namespace {

constexpr const char* kReductions[] = {"mean", "sum", "none"};

py::ssize_t product(const Shape& shape) {
  py::ssize_t size = 1;
  for (const py::ssize_t n : shape) size *= n;
  return size;
}

}  // namespace

std::vector<double> doubles(const View& array) {
  const View values = contiguous_operand(array, ComputeType{true, {}});
  return {input<double>(values), input<double>(values) + values.size()};
}

Reduction reduction_of(py::handle object) {
  if (py::isinstance<py::str>(object)) {
    const auto name = object.cast<std::string>();
    for (int i = 0; i < 3; ++i) {
      if (name == kReductions[i]) return static_cast<Reduction>(i);
    }
  }
  throw py::value_error("reduction: expected 'mean', 'sum' or 'none', got " +
                        py::repr(object).cast<std::string>());
}

const char* name_of(Reduction reduction) { return kReductions[static_cast<int>(reduction)]; }

RowWeights::RowWeights(Reduction reduction, const Counting& counting, const Shape& shape)
    : reduction_(reduction),
      shape_(shape),
      size_(product(shape)),
      before_(counting.before),
      sum_(counting.before) {
  if (!counting.count.is_none()) {
    given_ = number("count", counting.count);
    if (!(*given_ > 0 && std::isfinite(*given_))) {
      throw py::value_error("count: expected a finite number above 0, got " + number_text(*given_));
    }
    if (reduction != Reduction::kMean) {
      throw py::value_error(std::string("count: nothing is divided by it with reduction='") +
                            name_of(reduction) + "'");
    }
  }
  if (!(before_ >= 0 && std::isfinite(before_))) {
    throw py::value_error("before: expected a finite number of at least 0, got " +
                          number_text(before_));
  }
  if (counting.weights.is_none()) return;
  const View weight = argument("sample_weight", counting.weights);
  compute_type({&weight});  // a type that cannot be a weight raises
  if (shape_of(weight) != shape) {
    throw py::value_error("sample_weight: expected shape " + shape_text(shape) +
                          ", a number for each row, got " + shape_text(weight));
  }
  weights_ = doubles(weight);
  for (const double w : weights_) {
    if (!(w >= 0 && std::isfinite(w))) {
      throw py::value_error("sample_weight: expected finite numbers of at least 0, got " +
                            number_text(w));
    }
  }
}

double RowWeights::total() const {
  if (reduction_ != Reduction::kMean) return before_ + static_cast<double>(rows_);
  return given_.value_or(sum_);
}

void RowWeights::count_all() {
  for (py::ssize_t i = 0; i < size_; ++i) {
    if ((*this)[i] != 0) count(i, 1);
  }
}

void RowWeights::require_finite_total() const {
  if (reduction_ != Reduction::kMean || std::isfinite(sum_)) return;
  throw py::value_error(
      "sample_weight: the weights add up to infinity, a mean loss divides by that");
}

py::object RowWeights::kept() const {
  if (weights_.empty()) return py::none();
  const View kept = new_array(py::dtype::of<double>(), shape_);
  std::copy(weights_.begin(), weights_.end(), output<double>(kept));
  return kept.owner();
}

std::vector<double> RowWeights::factors(py::handle dout) const {
  std::vector<double> factor(static_cast<std::size_t>(size_));
  const bool is_none = reduction_ == Reduction::kNone;
  const View values = is_none ? argument("dout", dout) : View();
  if (values.ndim() > 0) {
    if (shape_of(values) != shape_) {
      throw py::value_error("dout: expected a number or shape " + shape_text(shape_) +
                            ", that of the losses, got " + shape_text(values));
    }
    compute_type({&values});
    factor = doubles(values);
  } else {
    std::fill(factor.begin(), factor.end(), number("dout", dout));
  }
  // Weighed first, then divided: weights may be so small that one by their sum is infinite.
  for (std::size_t i = 0; i < weights_.size(); ++i) factor[i] *= weights_[i];
  if (reduction_ == Reduction::kMean) {
    for (double& f : factor) f /= total();
  }
  return factor;
}

py::object RowWeights::reduced(std::vector<double>& losses, const ComputeType& type) const {
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    losses[i] = weights_[i] == 0 ? 0 : losses[i] * weights_[i];
  }
  if (reduction_ == Reduction::kNone) {
    const View result = new_array(type, shape_);
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
  return py::float_(reduction_ == Reduction::kMean ? sum / total() : sum);
}

}  // namespace nnext::bindings
