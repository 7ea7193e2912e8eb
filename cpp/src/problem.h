// A matrix product to compute, and its parts.
#pragma once

#include "nnext/sum.h"
#include "nnext/types.h"

namespace nnext {

inline index_t rounded_up(index_t n, index_t unit) { return (n + unit - 1) / unit * unit; }

// Cuts `total` units into the fewest pieces of at most `most`, as even as can be.
struct Cut {
  index_t total;
  index_t pieces;

  Cut(index_t total_units, index_t most) : total(total_units), pieces((total + most - 1) / most) {}
  index_t begin(index_t piece) const { return total * piece / pieces; }
  index_t size(index_t piece) const { return begin(piece + 1) - begin(piece); }

  // The same sizes with the larger ones first: calls run(size, count) for each of the two that
  // there are. One may have no piece, and be larger than `most` then. There must be one at least.
  template <class Run>
  void by_size(const Run& run) const {
    const index_t larger = total % pieces;
    run(total / pieces + 1, larger);
    run(total / pieces, pieces - larger);
  }
};

// C = A B + bias, or added to what C holds. B is the operand that is read in vectors, along its
// columns.
template <class T>
struct Problem {
  MatrixView<const T> a;
  MatrixView<const T> b;
  MatrixView<T> c;    // rows or columns contiguous
  const T* bias;      // one for each column of C, or null
  const T* row_bias;  // one for each row of C, or null
  SumInto into;

  index_t k() const { return a.cols; }
  double multiply_adds() const {
    return static_cast<double>(c.rows) * static_cast<double>(c.cols) * static_cast<double>(k());
  }
  Problem transposed() const {
    return {b.transposed(), a.transposed(), c.transposed(), row_bias, bias, into};
  }
  // Rows [row, row + rows) and columns [col, col + cols) of C.
  Problem part(index_t row, index_t rows, index_t col, index_t cols) const {
    Problem p = *this;
    p.a.data += row * a.row_stride;
    p.a.rows = p.c.rows = rows;
    p.b.data += col * b.col_stride;
    p.b.cols = p.c.cols = cols;
    p.c.data += row * c.row_stride + col * c.col_stride;
    if (bias != nullptr) p.bias += col;
    if (row_bias != nullptr) p.row_bias += row;
    return p;
  }
  // Terms [first, first + count) of the sums: their part in them, the bias with the last.
  Problem terms(index_t first, index_t count, SumInto part_into) const {
    Problem p = *this;
    p.a.data += first * a.col_stride;
    p.b.data += first * b.row_stride;
    p.a.cols = p.b.rows = count;
    p.into = part_into;
    if (first + count < k()) p.bias = p.row_bias = nullptr;
    return p;
  }
};

}  // namespace nnext
