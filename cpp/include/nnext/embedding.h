// Rows of a table by index, and the gradient that adds them up again.
#pragma once

#include <cstdint>

#include "nnext/sum.h"
#include "nnext/types.h"

namespace nnext {

// out[i] = w[index[i]]: n rows of `width` contiguous elements, row v of w at w + v * row_stride.
// Indices lie in [0, rows of w).
template <class T>
void embedding(const T* w, index_t row_stride, const std::int64_t* index, index_t n, index_t width,
               T* out);

// dw[v] = sum of dout[i] over the i with index[i] = v, in order, as nnext/sum.h says of n terms:
// with more than kLongestChain indices, each kSumBlock of them add up apart. dw has `rows` rows.
// `into` is kOverwrite or kContinue. Needs no memory of its own.
template <class T>
void embedding_backward(const T* dout, const std::int64_t* index, index_t n, index_t width, T* dw,
                        index_t rows, index_t row_stride, SumInto into = SumInto::kOverwrite);

}  // namespace nnext
