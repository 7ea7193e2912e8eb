// Labels and indices; see labels.h.
#include "labels.h"

#include <cmath>
#include <string>

#include "scalars.h"

namespace nnext::bindings {
namespace {

// How far from 1 the probabilities of a row may add up. Each is off by up to a unit roundoff of its
// type, and so is whatever the caller divided by: some thousand classes of float32 that were
// normalised in float32 stay below.
double sum_tolerance(const View& rows) {
  if (rows.kind() != Kind::kHalf) return 1e-4;
  return py::str(rows.dtype().attr("name")).equal(py::str("float16")) ? 4e-3 : 3e-2;
}

[[noreturn]] void raise_row(const char* name, py::ssize_t row, const std::string& what) {
  throw py::value_error(std::string(name) + ": row " + std::to_string(row) + " " + what);
}

// The class of a one-hot row of integers.
std::int64_t class_of(const View& t, const std::int64_t* row, py::ssize_t classes, py::ssize_t i) {
  std::int64_t found = -1;
  for (py::ssize_t c = 0; c < classes; ++c) {
    if (row[c] == 0) continue;
    if (row[c] != 1) {
      raise_row(t.name(), i,
                "is not one-hot: it holds " + std::to_string(row[c]) + ", expected 0 and 1");
    }
    if (found >= 0) raise_row(t.name(), i, "is not one-hot: it holds 1 more than once");
    found = c;
  }
  if (found < 0) raise_row(t.name(), i, "is not one-hot: it holds no 1");
  return found;
}

// The class of a row of probabilities that is one-hot, kSoft for another.
template <class T>
std::int64_t class_or_soft(const View& t, const T* row, py::ssize_t classes, py::ssize_t i,
                           double tolerance) {
  double sum = 0;
  std::int64_t last = -1;
  py::ssize_t count = 0;  // of those above 0
  for (py::ssize_t c = 0; c < classes; ++c) {
    if (!(row[c] >= 0)) {
      raise_row(t.name(), i,
                "holds " + number_text(row[c]) + ", expected probabilities (at least 0)");
    }
    sum += static_cast<double>(row[c]);
    if (row[c] > 0) {
      ++count;
      last = c;
    }
  }
  if (!(std::abs(sum - 1) <= tolerance)) {
    raise_row(t.name(), i,
              "adds up to " + number_text(static_cast<T>(sum)) +
                  ", expected probabilities that add up to 1");
  }
  return count == 1 && row[last] == 1 ? last : Labels::kSoft;
}

// A C-contiguous int64 copy; without NumPy's way of some hundred nanoseconds for what labels mostly
// are.
View as_int64(const View& from) {
  const bool plain = from.is_c_contiguous() && from.is_native() && !from.is_unsigned();
  if (!plain || from.kind() != Kind::kInteger || from.itemsize() < 4) {
    return converted(from, int64_type());
  }
  const View copy = new_array(int64_type(), from.ndim(), from.shape());
  if (from.itemsize() == 8) {
    std::copy_n(input<std::int64_t>(from), from.size(), output<std::int64_t>(copy));
  } else {
    std::copy_n(input<std::int32_t>(from), from.size(), output<std::int64_t>(copy));
  }
  return copy;
}

// Integers of any type and layout as a new int64 array, each in [0, limit), or kIgnored for the
// ignored one, and with `kept` for what is kIgnored already.
View checked_copy(const View& from, py::ssize_t limit, const char* what, const char* of,
                  std::optional<std::int64_t> ignored = {}, bool kept = false) {
  if (from.kind() != Kind::kInteger && from.size() > 0) {  // [] is an array of floats
    throw py::type_error(std::string(from.name()) + ": expected integers, got type " +
                         from.dtype_text() + " of shape " + shape_text(from));
  }
  const View copy = as_int64(from);
  auto* const values = output<std::int64_t>(copy);
  for (py::ssize_t i = 0; i < copy.size(); ++i) {
    // An unsigned label that is too large for an int64 has become negative.
    const bool is_large = values[i] < 0 && from.is_unsigned();
    const bool is_ignored =
        (ignored && values[i] == *ignored) || (kept && values[i] == Labels::kIgnored);
    if (is_ignored && !is_large) {
      values[i] = Labels::kIgnored;
      continue;
    }
    if (values[i] >= 0 && values[i] < limit) continue;
    const std::string text = is_large ? std::to_string(static_cast<std::uint64_t>(values[i]))
                                      : std::to_string(values[i]);
    throw py::index_error(std::string(from.name()) + ": " + what + " " + text + " in row " +
                          std::to_string(i) + " is out of range for " + std::to_string(limit) +
                          " " + of);
  }
  return copy;
}

// Rows of integers or booleans as class indices.
View indices_of_rows(const View& t, const Shape& shape, py::ssize_t classes) {
  const View rows = converted(t, int64_type());
  const View index = new_array(int64_type(), shape);
  for (py::ssize_t i = 0; i < index.size(); ++i) {
    output<std::int64_t>(index)[i] =
        class_of(t, input<std::int64_t>(rows) + i * classes, classes, i);
  }
  return index;
}

}  // namespace

Labels::Labels(py::handle labels, const Shape& shape, py::ssize_t classes,
               std::optional<std::int64_t> ignored, const ComputeType& type, bool kept) {
  const View t = argument("t", labels);
  if (classes == 0) throw py::value_error("t: expected labels of at least 2 classes, got 0");
  if (classes == 1) {
    throw py::value_error(
        "t: expected labels of at least 2 classes, got 1, whose softmax is 1 and its loss 0 "
        "whatever the scores; for two classes by one score take SigmoidWithLoss");
  }
  Shape of_scores = shape;
  of_scores.push_back(classes);
  const bool are_rows = shape_of(t) == of_scores;
  if (!are_rows && shape_of(t) != shape) {
    throw py::value_error("t: expected labels of shape " + shape_text(shape) +
                          " or rows of shape " + shape_text(of_scores) +
                          ", one-hot or probabilities, got shape " + shape_text(t));
  }
  if (!are_rows) {
    kept_ = index_ = checked_copy(t, classes, "label", "classes", ignored, kept);
    return;
  }
  compute_type({&t});  // a type that cannot be a label raises
  if (t.kind() == Kind::kInteger || t.kind() == Kind::kBool) {
    index_ = indices_of_rows(t, shape, classes);
  } else {
    index_ = new_array(int64_type(), shape);
    const ComputeType own{t.kind() == Kind::kFloat64, {}};
    const double tolerance = sum_tolerance(t);
    const View rows =
        converted(t, own.is_double ? py::dtype::of<double>() : py::dtype::of<float>());
    bool any_soft = false;
    with_type(own, [&](auto zero) {
      using T = decltype(zero);
      for (py::ssize_t i = 0; i < index_.size(); ++i) {
        const std::int64_t found =
            class_or_soft<T>(t, input<T>(rows) + i * classes, classes, i, tolerance);
        output<std::int64_t>(index_)[i] = found;
        any_soft = any_soft || found == kSoft;
      }
    });
    if (any_soft) {
      soft_ = operand(rows, type);
      for (py::ssize_t i = 0; i < size(); ++i) {
        const char* const row = soft_.data() + i * classes * soft_.itemsize();
        soft_rows_.push_back(index(i) == kSoft ? row : nullptr);
      }
    }
  }
  for (py::ssize_t i = 0; ignored && i < size(); ++i) {
    if (index(i) == *ignored && index(i) >= 0) output<std::int64_t>(index_)[i] = kIgnored;
  }
  // Half precision stays what it is: it is by its type that the rows are checked again.
  const bool is_half = t.kind() == Kind::kHalf;
  kept_ = !has_soft_rows() ? index_ : is_half ? converted(t, t.dtype()) : soft_;
}

void Labels::ignore(py::ssize_t i) {
  if (index_.data() == kept_.data()) index_ = converted(index_, int64_type());
  output<std::int64_t>(index_)[i] = kIgnored;
  if (has_soft_rows()) soft_rows_[static_cast<std::size_t>(i)] = nullptr;
}

py::object Labels::best() const {
  if (!has_soft_rows()) return index_.owner();
  const py::ssize_t classes = soft_.shape(soft_.ndim() - 1);
  const View all = new_array(int64_type(), index_.ndim(), index_.shape());
  with_type(ComputeType{soft_.kind() == Kind::kFloat64, {}}, [&](auto zero) {
    using T = decltype(zero);
    for (py::ssize_t i = 0; i < size(); ++i) {
      const T* const row = input<T>(soft_) + i * classes;
      output<std::int64_t>(all)[i] =
          index(i) == kSoft ? std::max_element(row, row + classes) - row : index(i);
    }
  });
  return all.owner();
}

View checked_indices(const View& index, py::ssize_t limit, const char* what, const char* of) {
  return checked_copy(index, limit, what, of);
}

}  // namespace nnext::bindings
