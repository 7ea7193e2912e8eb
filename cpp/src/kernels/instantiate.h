// Makes the kernels concrete for the instruction set whose file includes this, and fills its table.
#pragma once

#include "kernels/cross_entropy.h"
#include "kernels/element_loss.h"
#include "kernels/elementwise.h"
#include "kernels/embedding_dot.h"
#include "kernels/gemm.h"
#include "kernels/normalize.h"
#include "kernels/optimizer.h"
#include "kernels/recurrent.h"
#include "kernels/reduce.h"

namespace nnext {
namespace NNEXT_SIMD {
namespace {

template <class T>
constexpr Kernels<T> make_kernels() {  // coverage off: when it is compiled
  Kernels<T> k{};
  k.lanes = Simd<T>::lanes;
  k.loads_parts = kLoadsParts;
  k.has_halves = kHasHalves;
  k.tile_vectors = kTileVectors;
  for (int i = 0; i <= kMaxTileVectors; ++i) k.tile_rows[i] = kTileRows[i];
  FillTiles<T, 1, kTileRows[1]>::into(k);
  FillTiles<T, 2, kTileRows[2]>::into(k);
  FillTiles<T, 3, kTileRows[3]>::into(k);
  FillTiles<T, 4, kTileRows[4]>::into(k);
  FillColumnTiles<T, kMaxColumnTileRows>::into(k);
  k.pack = &pack<T>;
  k.transpose = &transpose<T>;
  k.exp = &exp_array<T>;
  k.log = &log_array<T>;
  k.sigmoid = &sigmoid_array<T>;
  k.tanh = &tanh_array<T>;
  k.relu = &relu_array<T>;
  k.silu = &silu_array<T>;
  k.gelu = &gelu_array<T>;
  k.gelu_tanh = &gelu_tanh_array<T>;
  k.leaky_relu = &leaky_relu_array<T>;
  k.sigmoid_backward = &sigmoid_backward_array<T>;
  k.tanh_backward = &tanh_backward_array<T>;
  k.relu_backward = &relu_backward_array<T>;
  k.silu_backward = &silu_backward_array<T>;
  k.gelu_backward = &gelu_backward_array<T>;
  k.gelu_tanh_backward = &gelu_tanh_backward_array<T>;
  k.leaky_relu_backward = &leaky_relu_backward_array<T>;
  k.dropout = &dropout_array<T>;
  k.dropout_backward = &dropout_backward_array<T>;
  k.add = &add_array<T>;
  k.scale = &scale_array<T>;
  k.softmax = &softmax_rows<T>;
  k.best = &best_rows<T>;
  k.softmax_backward = &softmax_backward_rows<T>;
  k.softmax_loss_backward = &softmax_loss_backward_rows<T>;
  k.cross_entropy = &cross_entropy_rows<T>;
  k.cross_entropy_backward = &cross_entropy_backward_rows<T>;
  k.softcap = &softcap_array<T>;
  k.element_loss = &element_loss_rows<T>;
  k.element_loss_backward = &element_loss_backward_rows<T>;
  k.row_dots = &row_dots_array<T>;
  k.add_multiple = &add_multiple_array<T>;
  k.row_sums = &row_sums_array<T>;
  k.column_sums = &column_sums_array<T>;
  k.sum_of_squares = &sum_of_squares_array<T>;
  k.inverse_root = &inverse_root_array<T>;
  k.layer_norm = &layer_norm_rows<T>;
  k.layer_norm_backward = &layer_norm_backward_rows<T>;
  k.distances = &column_distances<T>;
  k.batch_norm_sums = &batch_norm_sums_rows<T>;
  k.batch_norm = &normalize_columns<T>;
  k.batch_norm_backward = &batch_norm_backward_rows<T>;
  k.cut = &cut_array<T>;
  k.rnn_step = &rnn_step<T>;
  k.rnn_step_backward = &rnn_step_backward<T>;
  k.lstm_step = &lstm_step<T>;
  k.lstm_step_backward = &lstm_step_backward<T>;
  k.gru_gates = &gru_gates<T>;
  k.gru_step = &gru_step<T>;
  k.gru_step_backward = &gru_step_backward<T>;
  k.gru_reset_backward = &gru_reset_backward<T>;
  k.sgd = &sgd_step<T>;
  k.momentum = &momentum_step<T>;
  k.nesterov = &nesterov_step<T, /*Book=*/false>;
  k.book_nesterov = &nesterov_step<T, /*Book=*/true>;
  k.adagrad = &adagrad_step<T>;
  k.rmsprop = &rmsprop_step<T>;
  k.adam = &adam_step<T>;
  return k;
}  // coverage on

}  // namespace

extern const KernelTable kTable;
constinit const KernelTable kTable = {NNEXT_ISA_NAME, make_kernels<float>(),
                                      make_kernels<double>()};

}  // namespace NNEXT_SIMD
}  // namespace nnext
