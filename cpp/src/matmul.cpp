// The blocked matrix product: loops over blocks, packing, edges and threads. The register tile and
// the packing of one panel belong to the kernels.
#include "nnext/matmul.h"

#include <algorithm>

#include "blocking.h"
#include "dispatch.h"
#include "nnext/threads.h"
#include "scratch.h"

namespace nnext {
namespace {

// Cuts `total` units into the fewest pieces of at most `most`, as even as can be.
struct Cut {
  index_t total;
  index_t pieces;

  Cut(index_t total_units, index_t most) : total(total_units), pieces((total + most - 1) / most) {}
  index_t begin(index_t piece) const { return total * piece / pieces; }
};

template <class T>
class Product {
 public:
  Product(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c, const T* bias,
          bool accumulate)
      : kernels_(kernels<T>()), a_(a), b_(b), c_(c), bias_(bias), accumulate_(accumulate) {}

  // Computes rows [row_begin, row_end) and columns [col_begin, col_end) of C in this thread.
  void run(index_t row_begin, index_t row_end, index_t col_begin, index_t col_end) const {
    const index_t k = a_.cols;
    const bool packs = b_.col_stride != 1 || row_end - row_begin > kUnpackedRows;
    for (index_t jc = col_begin; jc < col_end; jc += kNC) {  // loop 5
      const index_t nc = std::min(kNC, col_end - jc);
      const Cut panels((nc + kernels_.lanes - 1) / kernels_.lanes, kernels_.tile_vectors);
      index_t pc = 0;
      do {  // loop 4; once for k = 0, which writes the zeros
        const index_t kc = std::min(kKC, k - pc);
        const T* packed = pack_block(pc, kc, jc, nc, panels, packs);
        for (index_t ic = row_begin; ic < row_end; ic += kMC) {  // loop 3
          const index_t mc = std::min(kMC, row_end - ic);
          for (index_t panel = 0; panel < panels.pieces; ++panel) {  // loop 2
            run_panel(ic, mc, pc, kc, jc, nc, panels, panel, packs, packed);
          }
        }
        pc += kc;
      } while (pc < k);
    }
  }

 private:
  // A panel that ends inside a vector is packed (and padded with zeros) always: the tile reads
  // whole vectors.
  bool panel_is_packed(bool packs, const Cut& panels, index_t panel, index_t nc) const {
    return packs || panels.begin(panel + 1) * kernels_.lanes > nc;
  }

  const T* pack_block(index_t pc, index_t kc, index_t jc, index_t nc, const Cut& panels,
                      bool packs) const {
    const index_t lanes = kernels_.lanes;
    T* packed = nullptr;
    for (index_t panel = 0; panel < panels.pieces; ++panel) {
      if (!panel_is_packed(packs, panels, panel, nc)) continue;
      if (packed == nullptr) packed = scratch<T>(kc * panels.total * lanes);
      const index_t begin = panels.begin(panel) * lanes;
      const index_t width = panels.begin(panel + 1) * lanes - begin;
      kernels_.pack(b_.data + pc * b_.row_stride + (jc + begin) * b_.col_stride, b_.row_stride,
                    b_.col_stride, kc, static_cast<int>(std::min(width, nc - begin)),
                    packed + begin * kc, width);
    }
    return packed;
  }

  void run_panel(index_t ic, index_t mc, index_t pc, index_t kc, index_t jc, index_t nc,
                 const Cut& panels, index_t panel, bool packs, const T* packed) const {
    const index_t begin = panels.begin(panel) * kernels_.lanes;
    const index_t vectors = panels.begin(panel + 1) - panels.begin(panel);
    const index_t width = vectors * kernels_.lanes;
    const bool is_packed = panel_is_packed(packs, panels, panel, nc);
    Tile<T> tile;
    tile.k = kc;
    tile.a_row_stride = a_.row_stride;
    tile.a_col_stride = a_.col_stride;
    tile.b = is_packed ? packed + begin * kc : b_.data + pc * b_.row_stride + jc + begin;
    tile.b_row_stride = is_packed ? width : b_.row_stride;
    tile.c_row_stride = c_.row_stride;
    tile.cols = static_cast<int>(std::min(width, nc - begin));
    tile.bias = bias_ != nullptr && pc + kc == a_.cols ? bias_ + jc + begin : nullptr;
    tile.accumulate = accumulate_ || pc > 0;
    const Cut tiles(mc, kernels_.tile_rows[vectors]);
    for (index_t i = 0; i < tiles.pieces; ++i) {  // loop 1
      const index_t row = ic + tiles.begin(i);
      tile.a = a_.data + row * a_.row_stride + pc * a_.col_stride;
      tile.c = c_.data + row * c_.row_stride + jc + begin;
      kernels_.tile[vectors][tiles.begin(i + 1) - tiles.begin(i)](tile);
    }
  }

  const Kernels<T>& kernels_;
  MatrixView<const T> a_;
  MatrixView<const T> b_;
  MatrixView<T> c_;
  const T* bias_;
  bool accumulate_;
};

// Splits C among threads as a grid of whole tiles: the grid whose largest share is smallest.
struct Grid {
  int row_parts = 1;
  int col_parts = 1;

  Grid(index_t row_tiles, index_t col_vectors, int threads) {
    index_t least = row_tiles * col_vectors;
    for (int rows = 1; rows <= threads; ++rows) {
      const int cols = threads / rows;
      const index_t share = ((row_tiles + rows - 1) / rows) * ((col_vectors + cols - 1) / cols);
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
            bool accumulate) {
  if (c.rows == 0 || c.cols == 0) return;
  if (c.col_stride != 1 && c.cols > 1) {
    // Columns contiguous: compute the transpose, whose rows are.
    matmul<T>(b.transposed(), a.transposed(), c.transposed(), nullptr, accumulate);
    return;
  }
  const Kernels<T>& table = kernels<T>();
  const Product<T> product(a, b, c, bias, accumulate);
  const double flops =
      2.0 * static_cast<double>(c.rows) * static_cast<double>(c.cols) * static_cast<double>(a.cols);
  const int threads = static_cast<int>(std::min<double>(num_threads(), flops / kFlopsPerThread));
  if (threads <= 1) {
    product.run(0, c.rows, 0, c.cols);
    return;
  }
  const index_t tile_rows = table.tile_rows[table.tile_vectors];
  const index_t row_tiles = (c.rows + tile_rows - 1) / tile_rows;
  const index_t col_vectors = (c.cols + table.lanes - 1) / table.lanes;
  const Grid grid(row_tiles, col_vectors, threads);
  parallel_for(grid.row_parts * grid.col_parts, [&](int part) {
    const index_t row_part = part / grid.col_parts;
    const index_t col_part = part % grid.col_parts;
    const auto row = [&](index_t i) {
      return std::min(c.rows, row_tiles * i / grid.row_parts * tile_rows);
    };
    const auto col = [&](index_t i) {
      return std::min(c.cols, col_vectors * i / grid.col_parts * table.lanes);
    };
    product.run(row(row_part), row(row_part + 1), col(col_part), col(col_part + 1));
  });
}

template void matmul<float>(MatrixView<const float>, MatrixView<const float>, MatrixView<float>,
                            const float*, bool);
template void matmul<double>(MatrixView<const double>, MatrixView<const double>, MatrixView<double>,
                             const double*, bool);

}  // namespace nnext
