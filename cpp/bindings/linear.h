// The operands of a linear layer: x (..., D), W (D, H), b (H).
#pragma once

#include <optional>
#include <vector>

#include "arrays.h"

namespace nnext::bindings {

// W as an argument; ValueError unless it is a matrix.
Argument weights(py::handle object);

// b as an argument, or nothing for None; ValueError unless its shape is (H,).
std::optional<Argument> bias(py::handle object, const Argument& w);

// ValueError unless the last dimension of x is that of the axis of W.
void require_last_axis(const Argument& x, const Argument& w, int axis);

// All leading axes as rows. Any 2-D array is taken as it lies; others are copied unless contiguous.
struct Rows {
  py::array array;
  py::ssize_t rows;
  py::ssize_t cols;

  Rows(const Argument& x, const ComputeType& type);

  template <class T>
  MatrixView<const T> view() const {
    if (array.ndim() == 2) return matrix_view<const T>(array);
    return {input<T>(array), rows, cols, cols, 1};
  }
};

// The operations of a product (m, k) (k, n).
double flops(py::ssize_t m, py::ssize_t k, py::ssize_t n);

// Rows or columns contiguous and apart from each other: what the core's product can write.
bool is_writable_layout(const py::array& array);

}  // namespace nnext::bindings
