// Sums over one axis of a contiguous array, and the norm of several.
#pragma once

#include "nnext/types.h"

namespace nnext {

// sums[o, i] = sum over a of x[o, a, i], x contiguous of shape (outer, axis, inner). With inner = 1
// the sum runs in float64 over 16 lanes (element e in lane e mod 16) joined in a fixed tree and is
// rounded once; else it is one chain in the order of a, in T.
template <class T>
void sum_axis(const T* x, T* sums, index_t outer, index_t axis, index_t inner);

// sum of x[i]^2 over n contiguous elements, in float64 over 16 lanes joined in a fixed tree.
template <class T>
double sum_of_squares(const T* x, index_t n);

// x *= factor over n contiguous elements.
template <class T>
void scale(T* x, index_t n, T factor);

}  // namespace nnext
