// Cross entropy of the softmax of scores, with all of its options. Source: Deep Learning from
// Scratch 2, ch. 1.3 (the loss); Szegedy et al. 2016 (label smoothing); Chowdhery et al. 2022, PaLM
// (z loss); Gemma Team 2024 (soft cap).
#pragma once

#include <cstdint>

#include "nnext/types.h"

namespace nnext {

// The options. With z the scores of a row (capped: z = softcap tanh(x / softcap)), t its label, w
// the class weights, V the number of classes and lse = log sum_c e^z_c, the row's loss is
//   (1 - smoothing) w_t (lse - z_t) + (smoothing / V) sum_c w_c (lse - z_c) + z_loss lse^2.
template <class T>
struct LossTerms {
  const T* class_weight = nullptr;  // one for each class, or null: 1
  double weight_sum = 0;            // of all classes: V without weights
  double smoothing = 0;             // in [0, 1)
  double z_loss = 0;
  T softcap = 0;  // 0: none
};

// What takes the place of a row of scores: the scores still (capped), softmax, or the gradient.
enum class RowResult { kLoss, kProbabilities, kGradient };

// Rows of scores (rows, cols), row_stride apart: writes loss[r], and over the scores what `result`
// says. factor[r] is the gradient of the whole by loss[r] (read for kGradient alone). Labels are in
// [0, cols), or negative: such a row has the loss and the gradient 0. Without options the bits are
// those of softmax_loss and softmax_loss_backward.
template <class T>
void cross_entropy(T* scores, index_t row_stride, index_t rows, index_t cols, const std::int64_t* t,
                   const LossTerms<T>& terms, const double* factor, RowResult result, double* loss);

}  // namespace nnext
