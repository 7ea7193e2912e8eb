// Softmax with cross-entropy loss, with all of its options. Rows are contiguous: N rows of V
// classes. Source: Deep Learning from Scratch 2, ch. 1.3 (the loss); Szegedy et al. 2016 (label
// smoothing); Chowdhery et al. 2022, PaLM (z loss); Gemma Team 2024 (soft cap).
#pragma once

#include <cstdint>

#include "nnext/types.h"

namespace nnext {

// The options. With z the scores of a row (capped: z = softcap tanh(x / softcap)), q the
// probabilities of its classes as they should be (1 for its label, if it has one), w the class
// weights, V the number of classes and lse = log sum_c e^z_c, the row's loss is
//   (1 - smoothing) sum_c q_c w_c (lse - z_c) + (smoothing / V) sum_c w_c (lse - z_c)
//   + z_loss lse^2.
template <class T>
struct LossTerms {
  const T* class_weight = nullptr;  // one for each class, or null: 1
  double weight_sum = 0;            // of all classes: V without weights
  double smoothing = 0;             // in [0, 1)
  double z_loss = 0;
  T softcap = 0;  // 0: none

  // The mean loss of the book and nothing else.
  bool are_plain() const {
    return class_weight == nullptr && smoothing == 0 && z_loss == 0 && softcap == 0;
  }
  // Whether the gradient needs more than the probabilities.
  bool need_scores() const { return z_loss != 0 || softcap != 0; }
};

// The labels of rows: row r has the class index[r], in [0, V); or, where soft is not null and
// soft[r] neither, the V probabilities soft[r] (of which those with weight add up to more than 0).
// Otherwise index[r] is negative, and the row does not count: loss and gradient 0.
template <class T>
struct RowLabels {
  const std::int64_t* index;
  const T* const* soft = nullptr;

  const T* soft_row(index_t r) const { return soft != nullptr ? soft[r] : nullptr; }
  bool counts(index_t r) const { return index[r] >= 0 || soft_row(r) != nullptr; }
  RowLabels from(index_t r) const { return {index + r, soft != nullptr ? soft + r : nullptr}; }
};

// y = softmax of the scores x (capped), and the losses of the rows. By log-sum-exp, so that no loss
// saturates: a row's loss is right to 2 ULP of T, but for exponentials below the smallest normal
// number, which are 0 (losses under 1e-30 or so in float32). So are probabilities and gradients.
template <class T>
void softmax_loss(const T* x, T* y, index_t rows, index_t cols, const RowLabels<T>& labels,
                  const LossTerms<T>& terms, double* loss);

// dx from y, and from x where the terms need the scores (else x is not read). factor[r] is the
// gradient of the whole by loss[r].
template <class T>
void softmax_loss_backward(const T* x, const T* y, T* dx, index_t rows, index_t cols,
                           const RowLabels<T>& labels, const LossTerms<T>& terms,
                           const double* factor);

// What takes the place of a row of scores: the scores still (capped), softmax, or the gradient.
enum class RowResult { kLoss, kProbabilities, kGradient };

// The same in one go and in place, for rows of scores row_stride apart: writes loss[r], and over
// the scores what `result` says. factor is read for kGradient alone. The same bits as above.
template <class T>
void cross_entropy(T* scores, index_t row_stride, index_t rows, index_t cols,
                   const RowLabels<T>& labels, const LossTerms<T>& terms, const double* factor,
                   RowResult result, double* loss);

}  // namespace nnext
