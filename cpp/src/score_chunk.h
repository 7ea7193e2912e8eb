// The scores of some rows of a linear layer, in memory that every chunk of a call uses again.
#pragma once

#include <algorithm>

#include "grain.h"
#include "nnext/linear_cross_entropy.h"
#include "nnext/matmul.h"
#include "nnext/memory.h"
#include "nnext/threads.h"

namespace nnext {

// A block of the cache, taken when first asked for (at the latest by `take`) and given back at the
// end of its scope.
template <class T>
class Buffer {
 public:
  explicit Buffer(index_t n)
      : bytes_(std::max(static_cast<std::size_t>(n) * sizeof(T), kSmallestBlock)) {}
  ~Buffer() {
    if (data_ != nullptr) give_block(data_, bytes_);
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  T* data() {
    if (data_ == nullptr) data_ = static_cast<T*>(take_block(bytes_));
    return data_;
  }

 private:
  std::size_t bytes_;
  T* data_ = nullptr;
};

// Rows of a chunk at most, however narrow they are: the scores should stay in the caches. Loss and
// gradients of (8192, 64, 1000), (8192, 256, 1000) and (16384, 32, 256), two threads of a Zen 5,
// took with 512 rows 0.98 to 1.02 of the time with 1024, with 2048 1.04 to 1.07, with 4096 1.09 to
// 1.13; of (65536, 64, 100) with 512 rows 1.04.
constexpr index_t kMostChunkRows = 1024;

template <class T>
class ScoreChunk {
 public:
  // Room for the scores of as many of `count` rows as the budget allows.
  ScoreChunk(const LinearScores<T>& scores, index_t count)
      : scores_(scores),
        stride_((scores.w.cols + kLineElements - 1) / kLineElements * kLineElements),
        rows_(chunk_rows(stride_, count)),
        memory_(rows_ * stride_),
        gathered_(rows_ * scores.x.cols) {}

  // Takes all memory that the chunks of these rows will need; throws std::bad_alloc. To be called
  // before anything is written: nothing fails afterwards.
  void take(const index_t* row, index_t count) {
    data();
    if (count > 0 && row[count - 1] - row[0] != count - 1) gathered();
  }

  index_t rows() const { return rows_; }  // of a whole chunk
  index_t stride() const { return stride_; }
  T* data() { return memory_.data(); }
  MatrixView<T> view(index_t rows) { return {data(), rows, scores_.w.cols, stride_, 1}; }

  // The rows of x with these numbers: where they lie if they follow each other, else a copy.
  MatrixView<const T> x(const index_t* row, index_t rows) {
    MatrixView<const T> x = scores_.x;
    x.rows = rows;
    if (rows == 0 || row[rows - 1] - row[0] == rows - 1) {
      if (rows > 0) x.data += row[0] * x.row_stride;
      return x;
    }
    T* const to = gathered();
    for (index_t i = 0; i < rows; ++i) {
      const T* const from = x.data + row[i] * x.row_stride;
      for (index_t d = 0; d < x.cols; ++d) to[i * x.cols + d] = from[d * x.col_stride];
    }
    return {to, rows, x.cols, x.cols, 1};
  }

  // Room for as many rows as a chunk has of the width of x.
  T* gathered() { return gathered_.data(); }

  void compute(const MatrixView<const T>& x) {
    matmul<T>(x, scores_.w, view(x.rows), scores_.bias);
  }

 private:
  // Whole tiles of the products, where there are enough: 48 rows and 24 more at a time fill both
  // the 6 rows of a tile and the vectors of the transposed scores.
  static index_t chunk_rows(index_t stride, index_t count) {
    const std::size_t row_bytes =
        static_cast<std::size_t>(std::max<index_t>(stride, 1)) * sizeof(T);
    const auto fitting = static_cast<index_t>(
        std::min(score_budget() / row_bytes, static_cast<std::size_t>(kMostChunkRows)));
    const index_t rows = fitting < 48 ? fitting : fitting / 24 * 24;
    return std::clamp<index_t>(rows, 1, std::max<index_t>(count, 1));
  }

  const LinearScores<T>& scores_;
  index_t stride_;
  index_t rows_;
  Buffer<T> memory_;
  Buffer<T> gathered_;
};

}  // namespace nnext
