// The linear layer with cross entropy, chunk by chunk of rows.
#include "nnext/linear_cross_entropy.h"

#include <algorithm>
#include <atomic>

#include "nnext/reduce.h"
#include "score_chunk.h"

namespace nnext {
namespace {

std::atomic<std::size_t> budget{std::size_t{24} << 20};

template <class T>
void clear_rows(const MatrixView<T>& dx) {
  for (index_t i = 0; i < dx.rows; ++i) std::fill_n(dx.data + i * dx.row_stride, dx.cols, T{0});
}

// Rows of dx from the gradient of their scores.
template <class T>
void input_gradient(ScoreChunk<T>& chunk, const MatrixView<const T>& w, const index_t* row,
                    index_t rows, MatrixView<T> dx) {
  const MatrixView<T> scores = chunk.view(rows);
  const MatrixView<const T> dscores{scores.data, scores.rows, scores.cols, scores.row_stride, 1};
  const bool consecutive = row[rows - 1] - row[0] == rows - 1;
  if (consecutive) {
    matmul<T>(dscores, w.transposed(),
              {dx.data + row[0] * dx.row_stride, rows, dx.cols, dx.row_stride, 1});
    return;
  }
  // The copy of x was last read for dW.
  T* const aside = chunk.gathered();
  matmul<T>(dscores, w.transposed(), {aside, rows, dx.cols, dx.cols, 1});
  for (index_t i = 0; i < rows; ++i) {
    std::copy_n(aside + i * dx.cols, dx.cols, dx.data + row[i] * dx.row_stride);
  }
}

}  // namespace

template <class T>
void linear_cross_entropy(const LinearScores<T>& scores, const LabelledRows<T>& rows,
                          const LossTerms<T>& terms, const LinearGradients<T>* gradients) {
  const index_t classes = scores.w.cols;
  ScoreChunk<T> chunk(scores, rows.count);
  const bool wants_dx = gradients != nullptr && gradients->dx.data != nullptr;
  if (wants_dx && rows.count < scores.x.rows) clear_rows(gradients->dx);
  if (gradients != nullptr && rows.count == 0) {  // sums over nothing
    matmul<T>(chunk.x(nullptr, 0).transposed(), {nullptr, 0, classes, classes, 1}, gradients->dw);
    if (gradients->db != nullptr) std::fill_n(gradients->db, classes, T{0});
  }
  for (index_t first = 0; first < rows.count; first += chunk.rows()) {
    const index_t n = std::min(chunk.rows(), rows.count - first);
    const index_t* const row = rows.row + first;
    const MatrixView<const T> x = chunk.x(row, n);
    chunk.compute(x);
    cross_entropy<T>(chunk.data(), chunk.stride(), n, classes, rows.labels.from(first), terms,
                     rows.factor != nullptr ? rows.factor + first : nullptr,
                     gradients != nullptr ? RowResult::kGradient : RowResult::kLoss,
                     rows.loss + first);
    if (gradients == nullptr) continue;
    matmul<T>(x.transposed(), {chunk.data(), n, classes, chunk.stride(), 1}, gradients->dw,
              /*bias=*/nullptr, /*accumulate=*/first > 0);
    if (gradients->db != nullptr) {
      sum_rows(chunk.data(), chunk.stride(), gradients->db, n, classes, first > 0);
    }
    if (wants_dx) input_gradient(chunk, scores.w, row, n, gradients->dx);
  }
}

void set_score_budget(std::size_t bytes) noexcept { budget = bytes; }
std::size_t score_budget() noexcept { return budget; }

#define NNEXT_INSTANTIATE(T)                                                            \
  template void linear_cross_entropy<T>(const LinearScores<T>&, const LabelledRows<T>&, \
                                        const LossTerms<T>&, const LinearGradients<T>*)
NNEXT_INSTANTIATE(float);
NNEXT_INSTANTIATE(double);
#undef NNEXT_INSTANTIATE

}  // namespace nnext
