// Softmax and its gradient, and the cross entropy of probabilities. Rows are contiguous: N rows of
// C classes. Softmax with loss is in cross_entropy.h. Source: Deep Learning from Scratch 2,
// ch. 1.3. Outputs never overlap inputs.
#pragma once

#include <cstdint>

#include "nnext/cross_entropy.h"
#include "nnext/types.h"

namespace nnext {

// y[n, k] = exp(x[n, k] - m) / sum_i exp(x[n, i] - m), m the row's maximum. Rows sum to 1 within
// C u. A row that holds NaN or +inf, or -inf alone, becomes NaN throughout; -inf beside finite
// scores becomes 0, and so does what is below the smallest normal number.
template <class T>
void softmax(const T* x, T* y, index_t rows, index_t cols);

// best[n] = the first class with the largest score of row n, where NaN counts as -inf. cols >= 1.
template <class T>
void best_class(const T* x, std::int64_t* best, index_t rows, index_t cols);

// dx = y (dout - sum_k y[n, k] dout[n, k])
template <class T>
void softmax_backward(const T* y, const T* dout, T* dx, index_t rows, index_t cols);

// -(1 / N) sum_n log(y[n, t[n]] + 1e-7), in float64; for a soft row the sum over its classes of
// their probability times that logarithm. rows >= 1, all of them count.
template <class T>
double cross_entropy_error(const T* y, const RowLabels<T>& labels, index_t rows, index_t cols);

}  // namespace nnext
