// The matrix product: which operand is read in vectors, and who computes which part of C.
#include "nnext/matmul.h"

#include <algorithm>

#include "blocked_product.h"
#include "nnext/threads.h"

namespace nnext {
namespace {

// Estimated cycles of a problem as it stands, to choose between it and its transpose: tiles over
// whole vectors, packing of B, transposition of C. Two multiply-adds or two loads a cycle; 0.4
// cycles an element packed or transposed. Against the better of the two on 19 shapes in three
// orientations the choice lost nowhere more than 3 %.
template <class T>
double estimated_cycles(const Problem<T>& p, const Kernels<T>& table) {
  constexpr double kTranspose = 0.4;
  constexpr double kSquare = 0.15;  // the same in a column tile, from where B lies
  constexpr double kTile = 50;      // a tile's call, its first loads and its stores
  const Cut panels(rounded_up(p.c.cols, table.lanes) / table.lanes, table.tile_vectors);
  const Cut tiles(p.c.rows, table.tile_rows[(panels.total + panels.pieces - 1) / panels.pieces]);
  const auto real = [](index_t n) { return static_cast<double>(n); };
  const double tile_count = real(panels.pieces * tiles.pieces);
  const index_t last = p.c.cols % table.lanes;
  const bool ends_in_half = table.has_halves && last > 0 && last <= table.lanes / 2;
  const double multiply_adds = real(p.c.rows) * (real(panels.total) - (ends_in_half ? 0.5 : 0));
  const double loads =
      real(p.c.rows) * real(panels.pieces) + real(tiles.pieces) * real(panels.total);
  double cycles = 0.5 * real(p.k()) * std::max(multiply_adds, loads) + kTile * tile_count;
  if (reads_columns(p)) {
    cycles += kSquare * real(Cut(p.c.rows, kMaxColumnTileRows).pieces) * real(p.k() * p.c.cols);
  } else if (p.b.col_stride != 1) {
    cycles += kTranspose * real(p.k() * p.c.cols);
  }
  if (p.c.col_stride != 1) {
    const bool reads_too = p.into != SumInto::kOverwrite || p.k() > kKC;
    cycles += kTranspose * real(p.c.rows) * real(p.c.cols) * (reads_too ? 2 : 1);
  }
  return cycles;
}

// Either orientation gives the same bits: fma(a, b, c) is fma(b, a, c).
template <class T>
Problem<T> oriented(const Problem<T>& p, const Kernels<T>& table) {
  constexpr index_t kTiny = 4096;  // multiply-adds; below, the choice would cost more than it saves
  const bool rows_are_fast = p.b.col_stride == 1 && p.c.col_stride == 1;
  if (rows_are_fast && p.c.rows * p.c.cols * p.k() < kTiny) return p;
  const Problem<T> swapped = p.transposed();
  return estimated_cycles(swapped, table) < estimated_cycles(p, table) ? swapped : p;
}

// Splits C among threads as a grid of whole tiles: the grid whose largest share is smallest. Parts
// narrower than a tile count an eighth more: threads that write such parts of one row of C share
// its cache lines. (10000, 10, 10) in float64 cut into 8 and 2 columns: 22 GFLOP/s on two threads,
// 34 on one. Otherwise columns are as good as rows, and better where rows are few: each thread
// reads its own part of B alone.
struct Grid {
  int row_parts = 1;
  int col_parts = 1;

  Grid(index_t row_tiles, index_t col_vectors, int tile_vectors, int threads) {
    index_t least = 8 * row_tiles * col_vectors;
    for (int rows = 1; rows <= threads; ++rows) {
      const int cols = threads / rows;
      const index_t width = (col_vectors + cols - 1) / cols;
      const index_t share =
          ((row_tiles + rows - 1) / rows) * width * (cols > 1 && width < tile_vectors ? 9 : 8);
      if (share < least && rows <= row_tiles && cols <= col_vectors) {
        least = share;
        row_parts = rows;
        col_parts = cols;
      }
    }
  }
};

}  // namespace

template <class T>
void matmul(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c, const T* bias,
            SumInto into) {
  if (c.rows == 0 || c.cols == 0) return;
  const Kernels<T>& table = kernels<T>();
  // A stride that is never taken may be any: let it not look like a layout of its own.
  if (b.cols == 1) b.col_stride = 1;
  if (c.cols == 1) c.col_stride = 1;
  if (a.rows == 1) a.row_stride = 1;
  if (c.rows == 1) c.row_stride = 1;
  const Problem<T> p = oriented<T>({a, b, c, bias, nullptr, into}, table);
  const double flops = 2.0 * static_cast<double>(p.c.rows) * static_cast<double>(p.c.cols) *
                       static_cast<double>(p.k());
  const int threads = static_cast<int>(std::min<double>(num_threads(), flops / kFlopsPerThread));
  if (threads <= 1) {
    compute_blocked(p);
    return;
  }
  const index_t tile_rows = table.tile_rows[table.tile_vectors];
  const index_t row_tiles = (p.c.rows + tile_rows - 1) / tile_rows;
  const index_t col_vectors = (p.c.cols + table.lanes - 1) / table.lanes;
  const bool whole_rows = p.k() <= kRowsFirstK && p.c.rows >= threads * kRowsFirstRows;
  const Grid grid(row_tiles, whole_rows ? 1 : col_vectors, table.tile_vectors, threads);
  parallel_for(grid.row_parts * grid.col_parts, [&](int part) {
    const auto row = [&](index_t i) {
      return std::min(p.c.rows, row_tiles * i / grid.row_parts * tile_rows);
    };
    const auto col = [&](index_t i) {
      return std::min(p.c.cols, col_vectors * i / grid.col_parts * table.lanes);
    };
    const index_t i = part / grid.col_parts;
    const index_t j = part % grid.col_parts;
    compute_blocked(p.part(row(i), row(i + 1) - row(i), col(j), col(j + 1) - col(j)));
  });
}

template void matmul<float>(MatrixView<const float>, MatrixView<const float>, MatrixView<float>,
                            const float*, SumInto);
template void matmul<double>(MatrixView<const double>, MatrixView<const double>, MatrixView<double>,
                             const double*, SumInto);

}  // namespace nnext
