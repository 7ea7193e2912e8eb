// Labels and indices, checked and copied: the caller may change its own arrays at any time.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "nnext/cross_entropy.h"
#include "view.h"

namespace nnext::bindings {

// The labels of a batch whose rows have the given shape (that of the scores but for the classes).
class Labels {
 public:
  // `t` is one of
  //  - class indices of any integer type, in exactly that shape;
  //  - one-hot rows, integers or booleans in exactly the shape of the scores;
  //  - rows of floats in the shape of the scores: probabilities, which add up to 1 (soft targets).
  // A row of floats that is one-hot is the class index. Raises ValueError for another shape, for a
  // row that is neither and for fewer than two classes; IndexError for a class outside
  // [0, classes), unless it is `ignored`; TypeError for other types. With `kept` these are what
  // kept() gave, where -1 is ignored too.
  Labels(py::handle t, const Shape& shape, py::ssize_t classes, std::optional<std::int64_t> ignored,
         const ComputeType& type, bool kept = false);

  py::ssize_t size() const { return index_.size(); }
  const View& index() const { return index_; }

  // The class of row i; -1 where it is ignored, -2 where soft(i) has its probabilities.
  std::int64_t index(py::ssize_t i) const { return input<std::int64_t>(index_)[i]; }
  static constexpr std::int64_t kIgnored = -1;
  static constexpr std::int64_t kSoft = -2;
  bool has_soft_rows() const { return soft_.size() > 0; }
  const View& soft() const { return soft_; }

  // Leaves row i out of the loss; what is kept stays as it is.
  void ignore(py::ssize_t i);

  // What a layer keeps and hands in again: the indices, or with soft rows all rows as they came.
  const py::object& kept() const { return kept_.owner(); }

  // The labels as the core takes them; they belong to this.
  template <class T>
  RowLabels<T> rows() const {
    const auto* const soft = reinterpret_cast<const T* const*>(soft_rows_.data());
    return {input<std::int64_t>(index_), has_soft_rows() ? soft : nullptr};
  }

  // The indices, for a soft row that of its largest probability (the first of equal ones).
  py::object best() const;

 private:
  View kept_;
  View index_;  // int64, of the shape of the rows
  View soft_;   // of the shape of the scores, in the type computed in; empty without soft rows
  std::vector<const void*> soft_rows_;  // for each row: where it is in soft_, or null
};

// Indices of any shape as a new C-contiguous int64 array, each in [0, limit). Raises TypeError for
// types other than integers, IndexError for one out of range (`what` they are and `of` how many).
View checked_indices(const View& index, py::ssize_t limit, const char* what, const char* of);

}  // namespace nnext::bindings
