// Sums over one axis of a contiguous array, and the norm of several.
#pragma once

#include <cmath>

#include "nnext/sum.h"
#include "nnext/types.h"

namespace nnext {

// sums[o, i] = sum over a of x[o, a, i], x contiguous of shape (outer, axis, inner). With inner = 1
// the sum runs in float64 over 16 lanes (element e in lane e mod 16) joined in a fixed tree and is
// rounded once; else it runs in the order of a, in T, as nnext/sum.h says.
template <class T>
void sum_axis(const T* x, T* sums, index_t outer, index_t axis, index_t inner);

// sums[j] = sum over r of x[r, j], rows row_stride apart, in the order of the rows, in T, as
// nnext/sum.h says. The gradient of a bias, whatever its width: gathered over blocks of rows
// (kContinue), kLongestChain of them in all, it has the same bits.
template <class T>
void sum_rows(const T* x, index_t row_stride, T* sums, index_t rows, index_t cols,
              SumInto into = SumInto::kOverwrite);

// sum of (factor x[i])^2 over n contiguous elements, in float64 over 16 lanes joined in a fixed
// tree.
template <class T>
double sum_of_squares(const T* x, index_t n, double factor = 1);

// The Euclidean norm of whatever squares(factor) returns the sum of squares of, each element times
// the factor: right wherever the norm itself is a float64 (no element of a float32 array needs it,
// but 1e200 and 1e-200 have no squares). Twice through the data then, or where all are 0; else
// sqrt(squares(1)). An infinite element makes it infinite, a NaN NaN; one below the smallest normal
// number adds nothing.
template <class Squares>
double norm_of(const Squares& squares) {
  constexpr double kScale =
      0x1p600;  // a power of two: the scaled sum has the bits of the plain one
  // Below this, squares that count may have lost digits under the smallest normal number, 2^-1022.
  constexpr double kLeast = 0x1p-900;
  const double sum = squares(1.0);
  if (std::isinf(sum)) return std::sqrt(squares(1 / kScale)) * kScale;
  if (sum < kLeast) return std::sqrt(squares(kScale)) / kScale;
  return std::sqrt(sum);
}

// x *= factor over n contiguous elements.
template <class T>
void scale(T* x, index_t n, T factor);

}  // namespace nnext
