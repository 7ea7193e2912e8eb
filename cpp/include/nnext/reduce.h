// Sums over one axis of a contiguous array, and the norm of several.
#pragma once

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

// sum of x[i]^2 over n contiguous elements, in float64 over 16 lanes joined in a fixed tree.
template <class T>
double sum_of_squares(const T* x, index_t n);

// x *= factor over n contiguous elements.
template <class T>
void scale(T* x, index_t n, T factor);

}  // namespace nnext
