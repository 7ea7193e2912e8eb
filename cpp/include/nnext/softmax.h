// Softmax, the losses that follow it, and their gradients. Rows are contiguous: N rows of C
// classes. Source: Deep Learning from Scratch 2, ch. 1.3. Outputs never overlap inputs.
#pragma once

#include <cstdint>

#include "nnext/types.h"

namespace nnext {

// y[n, k] = exp(x[n, k] - m) / sum_i exp(x[n, i] - m), m the row's maximum. Rows sum to 1 within
// C u. A row that holds NaN or +inf, or -inf alone, becomes NaN throughout; -inf beside finite
// scores becomes 0.
template <class T>
void softmax(const T* x, T* y, index_t rows, index_t cols);

// dx = y (dout - sum_k y[n, k] dout[n, k])
template <class T>
void softmax_backward(const T* y, const T* dout, T* dx, index_t rows, index_t cols);

// Softmax as above; returns the mean over rows of -log softmax(x)[n, t[n]] by log-sum-exp, which
// never saturates. rows >= 1, labels in [0, cols). Row losses are summed in float64 in order. A
// row's loss is right to 2 ULP of T, and where exponentials fall below the normal range (losses
// under 1e-30 or so in float32) to cols units of the smallest subnormal number more.
template <class T>
double softmax_loss(const T* x, const std::int64_t* t, T* y, index_t rows, index_t cols);

// dx = (y - onehot(t)) factor
template <class T>
void softmax_loss_backward(const T* y, const std::int64_t* t, T factor, T* dx, index_t rows,
                           index_t cols);

// -(1 / N) sum_n log(y[n, t[n]] + 1e-7), in float64. rows >= 1.
template <class T>
double cross_entropy_error(const T* y, const std::int64_t* t, index_t rows, index_t cols);

// y = 1 / (1 + e^-x); returns the sum over n elements of -t log y - (1 - t) log(1 - y), computed
// from x so that it never saturates, summed in float64 in order.
template <class T>
double sigmoid_loss(const T* x, const T* t, T* y, index_t n);

// dx = (y - t) factor
template <class T>
void sigmoid_loss_backward(const T* y, const T* t, T factor, T* dx, index_t n);

}  // namespace nnext
