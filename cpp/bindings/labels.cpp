// Labels and indices; see labels.h.
#include "labels.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <iterator>
#include <numeric>
#include <string>
#include <type_traits>
#include <utility>

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

// Rows are read so many elements at a time without a branch between them, which GCC 12 makes
// vectors of; a loop of 16 it unrolls first, and then makes none. 200 one-hot rows of 1000 classes
// (a Zen 4 with AVX2): float64 250 us element by element, 29 so; int32 250 us where they were
// copied as int64 first, 17 so.
constexpr py::ssize_t kAtOnce = 32;

// Where, from `c` on, the first element stands of which `mark` is not 0; `classes` if there is
// none.
template <class T, class Mark>
py::ssize_t find(const T* row, py::ssize_t c, py::ssize_t classes, Mark mark) {
  for (; c + kAtOnce <= classes; c += kAtOnce) {
    decltype(mark(*row)) any = 0;
    for (py::ssize_t i = 0; i < kAtOnce; ++i) any |= mark(row[c + i]);
    if (any != 0) break;
  }
  while (c < classes && mark(row[c]) == 0) ++c;
  return c;
}

// 0 for a zero of either sign: of floats the bits but for the sign, of which GCC makes vectors.
template <class T>
auto magnitude(T value) {
  if constexpr (std::is_same_v<T, float>) {
    return std::bit_cast<std::uint32_t>(value) << 1;
  } else if constexpr (std::is_same_v<T, double>) {
    return std::bit_cast<std::uint64_t>(value) << 1;
  } else {
    return value;
  }
}

// Where the first two numbers other than 0 stand in a row; `classes` where there are not so many.
template <class T>
std::pair<py::ssize_t, py::ssize_t> first_two(const T* row, py::ssize_t classes) {
  const py::ssize_t first = find(row, 0, classes, magnitude<T>);
  return {first, first < classes ? find(row, first + 1, classes, magnitude<T>) : classes};
}

// The class of a one-hot row of integers.
template <class Int>
std::int64_t class_of(const View& t, const Int* row, py::ssize_t classes, py::ssize_t i) {
  const auto [first, second] = first_two(row, classes);
  if (first == classes) raise_row(t.name(), i, "is not one-hot: it holds no 1");
  for (const py::ssize_t c : {first, second}) {
    if (c == classes || row[c] == 1) continue;
    raise_row(t.name(), i,
              "is not one-hot: it holds " + std::to_string(row[c]) + ", expected 0 and 1");
  }
  if (second < classes) raise_row(t.name(), i, "is not one-hot: it holds 1 more than once");
  return first;
}

template <class T>
double sum_of(const T* row, py::ssize_t classes) {
  constexpr py::ssize_t kSums = 8;  // 200,000 elements 35 us, in one sum 200
  double sums[kSums] = {};
  py::ssize_t c = 0;
  for (; c + kSums <= classes; c += kSums) {
    for (py::ssize_t i = 0; i < kSums; ++i) sums[i] += static_cast<double>(row[c + i]);
  }
  return std::accumulate(row + c, row + classes,
                         std::accumulate(std::begin(sums), std::end(sums), 0.0));
}

// The class of a row of probabilities that is one-hot, kSoft for another.
template <class T>
std::int64_t class_or_soft(const View& t, const T* row, py::ssize_t classes, py::ssize_t i,
                           double tolerance) {
  const auto [first, second] = first_two(row, classes);
  if (first < classes && row[first] == 1 && second == classes) return first;
  const py::ssize_t wrong = find(row, 0, classes, [](T share) { return share >= 0 ? 0 : 1; });
  if (wrong < classes) {
    raise_row(t.name(), i,
              "holds " + number_text(row[wrong]) + ", expected probabilities (at least 0)");
  }
  const double sum = sum_of(row, classes);
  if (!(std::abs(sum - 1) <= tolerance)) {
    raise_row(t.name(), i,
              "adds up to " + number_text(static_cast<T>(sum)) +
                  ", expected probabilities that add up to 1");
  }
  return Labels::kSoft;
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
  const View index = new_array(int64_type(), shape);
  const auto read = [&](const auto* rows) {
    for (py::ssize_t i = 0; i < index.size(); ++i) {
      output<std::int64_t>(index)[i] = class_of(t, rows + i * classes, classes, i);
    }
  };
  const bool plain =
      t.kind() == Kind::kInteger && t.is_c_contiguous() && t.is_native() && !t.is_unsigned();
  if (plain && t.itemsize() == 8) {
    read(input<std::int64_t>(t));
  } else if (plain && t.itemsize() == 4) {
    read(input<std::int32_t>(t));
  } else {
    const View rows = converted(t, int64_type());
    read(input<std::int64_t>(rows));
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
    const View rows = contiguous_operand(t, own);
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
      soft_ = converted(t, type.is_double ? py::dtype::of<double>() : py::dtype::of<float>());
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
