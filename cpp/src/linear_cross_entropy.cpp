// The linear layer with cross entropy, chunk by chunk of rows.
#include "nnext/linear_cross_entropy.h"

#include <algorithm>
#include <atomic>
#include <optional>

#include "nnext/reduce.h"
#include "nnext/sum.h"
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

// The gradients of the parameters, gathered over chunks of rows as nnext/sum.h says: those of a
// layer that sees all rows at once. Up to kLongestChain rows are one chain, which goes on in place.
// More are cut into blocks by their place among all rows; where a block takes several chunks its
// chain is kept aside, in memory of the size of the gradients.
template <class T>
class ParameterGradients {
 public:
  // `chunk_rows` of x at most come at a time. Throws std::bad_alloc.
  ParameterGradients(const LinearGradients<T>& into, index_t all_rows, index_t chunk_rows)
      : into_(into),
        in_blocks_(all_rows > kLongestChain),
        dw_block_(into.dw.rows * into.dw.cols),
        db_block_(into.dw.cols),
        has_total_(into.into == SumInto::kContinue) {
    if (in_blocks_ && chunk_rows < kSumBlock) {
      aside_ = {dw_block_.data(), into.dw.rows, into.dw.cols, into.dw.cols, 1};
      db_aside_ = db_block_.data();
    }
  }

  // How many of the rows with these numbers, in rising order, may come at once.
  index_t fitting(const index_t* row, index_t count) const {
    if (!in_blocks_) return count;
    const index_t block = row[0] / kSumBlock;
    return std::lower_bound(row, row + count, (block + 1) * kSumBlock) - row;
  }

  // Adds what some rows give; `first` is the number of the first of them. The last call is
  // followed by finish().
  void add(index_t first, const MatrixView<const T>& x, const MatrixView<const T>& dscores) {
    const index_t block = in_blocks_ ? first / kSumBlock : 0;
    if (aside_.data == nullptr) {
      const SumInto next = in_blocks_ ? SumInto::kAdd : SumInto::kContinue;
      compute(x, dscores, into_.dw, into_.db, has_total_ ? next : SumInto::kOverwrite);
      has_total_ = true;
    } else {
      if (!is_first_ && block != block_) finish();
      const bool goes_on = !is_first_ && block == block_;
      compute(x, dscores, aside_, into_.db != nullptr ? db_aside_ : nullptr,
              goes_on ? SumInto::kContinue : SumInto::kOverwrite);
    }
    block_ = block;
    is_first_ = false;
  }

  // Adds the chain that is kept aside.
  void finish() {
    if (aside_.data == nullptr || is_first_) return;
    add_block(aside_, into_.dw);
    if (into_.db != nullptr) {
      add_block({db_aside_, 1, aside_.cols, aside_.cols, 1},
                {into_.db, 1, aside_.cols, aside_.cols, 1});
    }
    has_total_ = true;
  }

 private:
  static void compute(const MatrixView<const T>& x, const MatrixView<const T>& dscores,
                      const MatrixView<T>& dw, T* db, SumInto sum) {
    matmul<T>(x.transposed(), dscores, dw, /*bias=*/nullptr, sum);
    if (db != nullptr) {
      sum_rows(dscores.data, dscores.row_stride, db, dscores.rows, dscores.cols, sum);
    }
  }

  void add_block(const MatrixView<T>& from, const MatrixView<T>& to) const {
    const index_t grain = kLightGrain / (from.cols + 1) + 1;
    parallel_ranges(from.rows, grain, 1, [&](index_t begin, index_t end) {
      for (index_t i = begin; i < end; ++i) {
        for (index_t j = 0; j < from.cols; ++j) {
          const T value = from.data[i * from.row_stride + j];
          T& total = to.data[i * to.row_stride + j * to.col_stride];
          total = has_total_ ? total + value : value;
        }
      }
    });
  }

  const LinearGradients<T>& into_;
  bool in_blocks_;
  Buffer<T> dw_block_;
  Buffer<T> db_block_;
  MatrixView<T> aside_{};
  T* db_aside_ = nullptr;
  index_t block_ = 0;
  bool is_first_ = true;
  bool has_total_;  // dw and db hold what the next sum is added to
};

}  // namespace

template <class T>
void linear_cross_entropy(const LinearScores<T>& scores, const LabelledRows<T>& rows,
                          const LossTerms<T>& terms, const LinearGradients<T>* gradients) {
  const index_t classes = scores.w.cols;
  ScoreChunk<T> chunk(scores, rows.count);
  chunk.take(rows.row, rows.count);
  std::optional<ParameterGradients<T>> held;
  ParameterGradients<T>* const of_parameters =
      gradients == nullptr ? nullptr : &held.emplace(*gradients, scores.x.rows, chunk.rows());
  const bool wants_dx = gradients != nullptr && gradients->dx.data != nullptr;
  if (wants_dx && rows.count < scores.x.rows) clear_rows(gradients->dx);
  if (of_parameters != nullptr && rows.count == 0) {  // sums over nothing
    of_parameters->add(0, chunk.x(nullptr, 0), {nullptr, 0, classes, classes, 1});
  }
  index_t n = 0;
  for (index_t first = 0; first < rows.count; first += n) {
    const index_t* const row = rows.row + first;
    n = std::min(chunk.rows(), rows.count - first);
    if (of_parameters != nullptr) n = of_parameters->fitting(row, n);
    const MatrixView<const T> x = chunk.x(row, n);
    chunk.compute(x);
    cross_entropy<T>(chunk.data(), chunk.stride(), n, classes, rows.labels.from(first), terms,
                     rows.factor != nullptr ? rows.factor + first : nullptr,
                     gradients != nullptr ? RowResult::kGradient : RowResult::kLoss,
                     rows.loss + first);
    if (of_parameters == nullptr) continue;
    of_parameters->add(row[0], x, {chunk.data(), n, classes, chunk.stride(), 1});
    if (wants_dx) input_gradient(chunk, scores.w, row, n, gradients->dx);
  }
  if (of_parameters != nullptr) of_parameters->finish();
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
