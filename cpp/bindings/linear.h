// The operands of a linear layer: x (..., D), W (D, H), b (H).
#pragma once

#include "view.h"

namespace nnext::bindings {

// x, W and b as arguments, of shapes that fit: ValueError otherwise. b may be None.
struct LinearArguments {
  View x;
  View w;
  View b;
  bool has_bias;
  ComputeType type;

  LinearArguments(py::handle x_object, py::handle w_object, py::handle b_object);

  py::ssize_t width() const { return w.shape(1); }
  Shape output_shape() const;  // (..., H)
  Shape batch_shape() const { return {x.shape(), x.shape() + x.ndim() - 1}; }
};

// All leading axes as rows. Any 2-D array is taken as it lies; others are copied unless contiguous.
struct Rows {
  View array;
  py::ssize_t rows;
  py::ssize_t cols;

  Rows(const View& x, const ComputeType& type);

  template <class T>
  MatrixView<const T> view() const {
    if (array.ndim() == 2) return matrix_view<const T>(array);
    return {input<T>(array), rows, cols, cols, 1};
  }
};

// x W + b, (..., H), in the type computed in.
View linear_output(const LinearArguments& in);

// The operations of a product (m, k) (k, n).
double flops(py::ssize_t m, py::ssize_t k, py::ssize_t n);

// Rows or columns contiguous and apart from each other: what the core's product can write.
bool is_writable_layout(const View& array);

}  // namespace nnext::bindings
