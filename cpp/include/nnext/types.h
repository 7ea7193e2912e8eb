// The two types every operation of the core speaks in: an index and a strided view of a matrix.
#pragma once

#include <cstddef>

namespace nnext {

// Sizes, positions and strides. Strides count elements, never bytes, and may be negative or zero.
using index_t = std::ptrdiff_t;

// A matrix that somebody else owns: element (i, j) is data[i * row_stride + j * col_stride].
template <class T>
struct MatrixView {
  T* data;
  index_t rows;
  index_t cols;
  index_t row_stride;
  index_t col_stride;

  MatrixView transposed() const { return {data, cols, rows, col_stride, row_stride}; }
};

}  // namespace nnext
