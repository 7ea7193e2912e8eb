// Losses that every score has of its own: those of regression, and the cross entropy of a sigmoid.
// N rows of C scores, contiguous, each with a target. The row's loss is the sum of its scores' over
// `divisor`. Sources: Huber 1964 (its loss); McCullagh and Nelder 1989, ch. 2 (Poisson and binary
// losses, whose gradients are prediction less target); Deep Learning from Scratch 2, ch. 4.2
// (sigmoid with loss). Outputs never overlap inputs.
#pragma once

#include "nnext/types.h"

namespace nnext {

// With x a score, t its target and d = x - t:
//   kSquared   d^2                                             prediction y = x
//   kAbsolute  |d|                                                        y = x
//   kHuber     d^2 / 2 for |d| <= delta, else delta (|d| - delta / 2)     y = x
//   kPoisson   e^x - t x, without the terms of t alone                    y = e^x
//   kBinary    -w t log y - (1 - t) log(1 - y), computed from x so that it never saturates,
//              w the weight of the positive class                         y = 1 / (1 + e^-x)
// Targets: at least 0 for kPoisson, in [0, 1] for kBinary. 0 times an infinite score is 0.
enum class LossKind { kSquared, kAbsolute, kHuber, kPoisson, kBinary };

template <class T>
struct ElementLoss {
  LossKind kind;
  T delta = 1;                         // of kHuber: at least 2^-125, finite
  const T* positive_weight = nullptr;  // of kBinary: one for each column, or null: 1. 0 or normal
  double divisor = 1;
};

// y and the losses of the rows, each summed in float64 in an order that the columns alone decide.
template <class T>
void element_loss(const ElementLoss<T>& loss, const T* x, const T* t, T* y, index_t rows,
                  index_t cols, double* loss_of_row);

// dx, from the predictions. factor[r] is the gradient of the whole by the loss of row r; where it
// is 0 the row's gradient is, whatever its predictions.
template <class T>
void element_loss_backward(const ElementLoss<T>& loss, const T* y, const T* t, const double* factor,
                           T* dx, index_t rows, index_t cols);

}  // namespace nnext
