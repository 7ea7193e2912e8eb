// A linear layer and the cross entropy of its scores in one: the scores of all N rows and V classes
// never exist at once.
//
// The rows are worked through in chunks. A chunk's scores (rows x V) become its losses and, in
// place, the gradient of the scores, from which dx of these rows and the sums in dW and db follow:
// 6 N D V operations in all, 2 N D V for the loss alone. Every sum runs over the rows in order, so
// chunks cannot be seen in the result: the bits are those of matmul, cross_entropy, matmul.
#pragma once

#include <cstddef>
#include <cstdint>

#include "nnext/cross_entropy.h"
#include "nnext/sum.h"
#include "nnext/types.h"

namespace nnext {

// scores = x w + bias: x (N, D), w (D, V), bias (V) contiguous or null.
template <class T>
struct LinearScores {
  MatrixView<const T> x;
  MatrixView<const T> w;
  const T* bias;
};

// The rows of x that count, in rising order, and for each of them its label, the gradient of the
// whole by its loss, and where its loss goes.
template <class T>
struct LabelledRows {
  const index_t* row;
  RowLabels<T> labels;
  const double* factor;  // null: no gradient
  double* loss;
  index_t count;
};

// Where the gradients go. dx (N, D), rows contiguous, or with null data not wanted, is overwritten;
// dw (D, V), rows or columns contiguous, and db (V), contiguous or null, are what `into` says,
// kOverwrite or kContinue.
template <class T>
struct LinearGradients {
  MatrixView<T> dx;
  MatrixView<T> dw;
  T* db;
  SumInto into = SumInto::kOverwrite;
};

// Losses of the rows, and with gradients not null these too. Rows of x that do not count are not
// computed; their dx is 0. Nothing overlaps. Throws std::bad_alloc before anything is written, or
// not at all.
template <class T>
void linear_cross_entropy(const LinearScores<T>& scores, const LabelledRows<T>& rows,
                          const LossTerms<T>& terms, const LinearGradients<T>* gradients);

// The k classes with the largest scores of each row of x, the largest first, of equal ones the
// first class first (NaN counts as -inf), and their log-probabilities: (N, k) each. 0 <= k <= V.
// Scores are capped as above if softcap is not 0.
template <class T>
void linear_top_k(const LinearScores<T>& scores, T softcap, index_t k, std::int64_t* classes,
                  T* log_prob);

// The memory that a chunk of scores may take, in bytes; a chunk has at least one row. Larger chunks
// read and write W and its gradient fewer times. The default is 24 MiB: see score_chunk.h.
void set_score_budget(std::size_t bytes) noexcept;
std::size_t score_budget() noexcept;

}  // namespace nnext
