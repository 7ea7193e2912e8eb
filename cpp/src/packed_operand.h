// The right operand of many matrix products with few rows each, such as the weights that a
// recurrent layer reads in every step: packed into panels once, which all of them read end to end.
// GFLOP/s of 20 rows, float32, Zen 4 with AVX2, one thread (two), packed and as it lies: 650 x 2600
// 53 and 45 (113, 78), 2600 x 650 with contiguous columns 64 and 53 (115, 92), 400 x 1600 67 and 44
// (128, 93), 100 x 400 47 and 43 (86, 76). Packing costs as much as a product of 10 to 20 rows.
#pragma once

#include <algorithm>
#include <cstdint>

#include "dispatch.h"
#include "grain.h"
#include "nnext/matmul.h"
#include "nnext/threads.h"
#include "plan.h"
#include "plan_thresholds.h"
#include "problem.h"

namespace nnext {

template <class T>
class PackedOperand {
 public:
  // Elements of room for one with so many rows and columns.
  static index_t size(index_t rows, index_t cols) {
    return rows * rounded_up(cols, kMaxLanes) + kLineElements;
  }

  // Packs b into the room, in panels as wide as suits products of so many rows; without room, or
  // where sums are no single chains (more than kLongestChain rows), products read it as it lies.
  // Both must stay while the operand is used.
  PackedOperand(MatrixView<const T> b, T* room, index_t rows)
      : kernels_(kernels<T>()),
        b_(b),
        panels_(rounded_up(b.cols, kernels_.lanes) / kernels_.lanes, width_for(rows, kernels_)) {
    if (room == nullptr || b.rows > kLongestChain) return;
    const auto element = static_cast<index_t>(reinterpret_cast<std::uintptr_t>(room) / sizeof(T));
    packed_ = room + (kLineElements - element % kLineElements) % kLineElements;  // whole lines
    const index_t panel_size = b.rows * kernels_.lanes * kernels_.tile_vectors;
    const index_t grain = kLightGrain / std::max<index_t>(panel_size, 1) + 1;
    parallel_ranges(panels_.pieces, grain, 1, [&](index_t first, index_t end) {
      for (index_t panel = first; panel < end; ++panel) pack(panel);
    });
  }

  // c = a b + bias, or added to what c holds (nnext/matmul.h). Columns of c are contiguous.
  void multiply(const MatrixView<const T>& a, const MatrixView<T>& c, const T* bias,
                SumInto into) const {
    if (c.rows == 0) return;
    if (packed_ == nullptr) {
      matmul<T>(a, b_, c, bias, into);
      return;
    }
    const double work = static_cast<double>(c.rows) * static_cast<double>(b_.rows * b_.cols);
    const auto wanted = static_cast<int>(std::min<double>(num_threads(), work / kThreadWork));
    const int parts = static_cast<int>(std::min<index_t>(wanted, panels_.pieces));
    if (parts <= 1) {
      multiply_panels(a, c, bias, into, 0, panels_.pieces);
      return;
    }
    parallel_for(parts, [&](int part) {
      multiply_panels(a, c, bias, into, panels_.pieces * part / parts,
                      panels_.pieces * (part + 1) / parts);
    });
  }

 private:
  void pack(index_t panel) const {
    const index_t begin = panels_.begin(panel) * kernels_.lanes;
    const index_t width = panels_.size(panel) * kernels_.lanes;
    kernels_.pack(b_.data + begin * b_.col_stride, b_.row_stride, b_.col_stride, b_.rows,
                  static_cast<int>(std::min(width, b_.cols - begin)), packed_ + begin * b_.rows,
                  width);
  }

  // For panels [first, end): tiles as even as can be, those of a height in one call.
  void multiply_panels(const MatrixView<const T>& a, const MatrixView<T>& c, const T* bias,
                       SumInto into, index_t first, index_t end) const {
    for (index_t panel = first; panel < end; ++panel) {
      const index_t vectors = panels_.size(panel);
      const index_t begin = panels_.begin(panel) * kernels_.lanes;
      Tile<T> tile;
      tile.k = b_.rows;
      tile.a = a.data;
      tile.a_row_stride = a.row_stride;
      tile.a_col_stride = a.col_stride;
      tile.b = packed_ + begin * b_.rows;
      tile.b_row_stride = vectors * kernels_.lanes;
      tile.c = c.data + begin;
      tile.c_row_stride = c.row_stride;
      tile.cols = std::min(vectors * kernels_.lanes, c.cols - begin);
      tile.bias = bias == nullptr ? nullptr : bias + begin;
      tile.into = into;
      Cut(c.rows, kernels_.tile_rows[vectors]).by_size([&](index_t height, index_t count) {
        run_tiles(tile, vectors, height, count);
      });
    }
  }

  // `count` tiles of so many rows, one below the other; moves the tile past them.
  void run_tiles(Tile<T>& tile, index_t vectors, index_t rows, index_t count) const {
    if (count == 0) return;
    tile.count = count;
    tile.a_step = rows * tile.a_row_stride;
    tile.c_step = rows * tile.c_row_stride;
    kernels_.tile[vectors][rows](tile);
    tile.a += count * tile.a_step;
    tile.c += count * tile.c_step;
  }

  const Kernels<T>& kernels_;
  MatrixView<const T> b_;
  Cut panels_;  // in vectors
  T* packed_ = nullptr;
};

}  // namespace nnext
