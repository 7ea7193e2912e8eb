// The blocked loops of the matrix product in one thread. Which operand is read in vectors, and
// which part of C a thread computes, is decided by matmul.cpp; the tiles themselves are the
// kernels'.
#pragma once

#include <algorithm>

#include "blocking.h"
#include "dispatch.h"
#include "scratch.h"

namespace nnext {

inline index_t rounded_up(index_t n, index_t unit) { return (n + unit - 1) / unit * unit; }

// Cuts `total` units into the fewest pieces of at most `most`, as even as can be.
struct Cut {
  index_t total;
  index_t pieces;

  Cut(index_t total_units, index_t most) : total(total_units), pieces((total + most - 1) / most) {}
  index_t begin(index_t piece) const { return total * piece / pieces; }
  index_t size(index_t piece) const { return begin(piece + 1) - begin(piece); }
};

// C (+)= A B + bias. B is the operand that is read in vectors, along its columns.
template <class T>
struct Problem {
  MatrixView<const T> a;
  MatrixView<const T> b;
  MatrixView<T> c;    // rows or columns contiguous
  const T* bias;      // one for each column of C, or null
  const T* row_bias;  // one for each row of C, or null
  bool accumulate;

  index_t k() const { return a.cols; }
  Problem transposed() const {
    return {b.transposed(), a.transposed(), c.transposed(), row_bias, bias, accumulate};
  }
  // Rows [row, row + rows) and columns [col, col + cols) of C.
  Problem part(index_t row, index_t rows, index_t col, index_t cols) const {
    Problem p = *this;
    p.a.data += row * a.row_stride;
    p.a.rows = p.c.rows = rows;
    p.b.data += col * b.col_stride;
    p.b.cols = p.c.cols = cols;
    p.c.data += row * c.row_stride + col * c.col_stride;
    if (bias != nullptr) p.bias += col;
    if (row_bias != nullptr) p.row_bias += row;
    return p;
  }
};

template <class T>
class BlockedProduct {
 public:
  explicit BlockedProduct(const Problem<T>& problem)
      : kernels_(kernels<T>()),
        p_(problem),
        packs_b_(p_.b.col_stride != 1 || (p_.c.rows > kUnpackedRows && p_.k() > kUnpackedK)),
        packs_a_(p_.a.row_stride == 1 && p_.a.col_stride != 1 && p_.c.cols >= kPackAColumns &&
                 bytes(p_.k() * p_.a.col_stride) > kUnpackedABytes),
        streams_(!packs_b_ && p_.c.rows <= kStreamRows &&
                 bytes(p_.k() * p_.c.cols) > kStreamBytes) {}

  void run() const {
    const bool in_columns =
        p_.b.row_stride == 1 && p_.b.col_stride != 1 && p_.c.rows <= kColumnTileRows;
    if (in_columns && p_.c.col_stride == 1) {
      run_columns();
      return;
    }
    for (index_t jc = 0; jc < p_.c.cols; jc += kNC) {  // loop 5
      run_block(p_.part(0, p_.c.rows, jc, std::min(kNC, p_.c.cols - jc)));
    }
  }

 private:
  static constexpr index_t bytes(index_t elements) { return elements * index_t{sizeof(T)}; }

  // Loops 4 to 1 on a block of columns of C.
  struct Block {
    const Problem<T>& p;
    Cut panels;  // in vectors
    index_t pc;  // rows [pc, pc + kc) of B are at work
    index_t kc;
    T* packed_a;
    T* packed_b;
  };

  void run_block(Problem<T> p) const {
    const index_t k = p.k();
    const index_t most_k = std::min(streams_ ? kStreamKC : kKC, k);
    const index_t most_rows =
        k <= kRowsFirstK ? index_t{kernels_.tile_rows[kernels_.tile_vectors]} : kMC;
    const Cut panels(rounded_up(p.c.cols, kernels_.lanes) / kernels_.lanes, kernels_.tile_vectors);
    const index_t width = panels.total * kernels_.lanes;
    // A streamed product visits C once for every few rows of k: columns of C, which a tile cannot
    // add to where they lie, are gathered in rows aside.
    const bool aside = streams_ && p.c.col_stride != 1;
    const index_t a_size = packs_a_ ? rounded_up(kMC, kPackedRows) * most_k : 0;
    const index_t c_size = aside ? p.c.rows * width : 0;
    T* const memory = scratch<T>(a_size + c_size + most_k * width);
    const MatrixView<T> c = p.c;
    if (aside) {
      p.c = {memory + a_size, c.rows, c.cols, width, 1};
      if (p.accumulate) kernels_.transpose(c.data, c.col_stride, c.cols, c.rows, p.c.data, width);
    }
    Block block{p, panels, 0, 0, memory, memory + a_size + c_size};
    do {  // loop 4; once for k = 0, which writes the zeros
      block.kc = std::min(most_k, k - block.pc);
      pack_b(block);
      for (index_t ic = 0; ic < c.rows; ic += most_rows) {  // loop 3
        const index_t mc = std::min(most_rows, c.rows - ic);
        if (packs_a_) pack_a(block, ic, mc);
        for (index_t panel = 0; panel < panels.pieces; ++panel) {  // loop 2
          run_panel(block, panel, ic, mc);
        }
      }
      block.pc += block.kc;
    } while (block.pc < k);
    if (aside) kernels_.transpose(p.c.data, width, c.rows, c.cols, c.data, c.col_stride);
  }

  // A panel that ends inside a vector is packed (and padded with zeros) always: the tile reads
  // whole vectors.
  bool panel_is_packed(const Block& block, index_t panel) const {
    return packs_b_ || block.panels.begin(panel + 1) * kernels_.lanes > block.p.c.cols;
  }

  void pack_b(const Block& block) const {
    const MatrixView<const T>& b = block.p.b;
    for (index_t panel = 0; panel < block.panels.pieces; ++panel) {
      if (!panel_is_packed(block, panel)) continue;
      const index_t begin = block.panels.begin(panel) * kernels_.lanes;
      const index_t width = block.panels.size(panel) * kernels_.lanes;
      kernels_.pack(b.data + block.pc * b.row_stride + begin * b.col_stride, b.row_stride,
                    b.col_stride, block.kc, static_cast<int>(std::min(width, b.cols - begin)),
                    block.packed_b + begin * block.kc, width);
    }
  }

  // Rows [ic, ic + mc) of A by groups of kPackedRows: element (i, p) of a group at
  // p * kPackedRows + i.
  void pack_a(const Block& block, index_t ic, index_t mc) const {
    const MatrixView<const T>& a = block.p.a;
    for (index_t p = 0; p < block.kc; p += kPackAK) {
      const index_t kc = std::min(kPackAK, block.kc - p);
      for (index_t i = 0; i < mc; i += kPackedRows) {
        kernels_.pack(a.data + (ic + i) * a.row_stride + (block.pc + p) * a.col_stride,
                      a.col_stride, a.row_stride, kc,
                      static_cast<int>(std::min(kPackedRows, mc - i)),
                      block.packed_a + i * block.kc + p * kPackedRows, kPackedRows);
      }
    }
  }

  void run_panel(const Block& block, index_t panel, index_t ic, index_t mc) const {
    const Problem<T>& p = block.p;
    const index_t begin = block.panels.begin(panel) * kernels_.lanes;
    const index_t vectors = block.panels.size(panel);
    const index_t width = vectors * kernels_.lanes;
    const bool is_packed = panel_is_packed(block, panel);
    const bool is_last = block.pc + block.kc == p.k();
    Tile<T> tile;
    tile.k = block.kc;
    tile.a_row_stride = packs_a_ ? 1 : p.a.row_stride;
    tile.a_col_stride = packs_a_ ? kPackedRows : p.a.col_stride;
    tile.b = is_packed ? block.packed_b + begin * block.kc
                       : p.b.data + block.pc * p.b.row_stride + begin;
    tile.b_row_stride = is_packed ? width : p.b.row_stride;
    tile.cols = static_cast<int>(std::min(width, p.c.cols - begin));
    tile.bias = is_last && p.bias != nullptr ? p.bias + begin : nullptr;
    tile.accumulate = p.accumulate || block.pc > 0;
    const auto* functions = streams_ && vectors == kernels_.tile_vectors ? kernels_.stream_tile
                                                                         : kernels_.tile[vectors];
    // Tiles may not cross the groups in which A is packed.
    const index_t group = packs_a_ ? kPackedRows : mc;
    for (index_t g = 0; g < mc; g += group) {
      const Cut tiles(std::min(group, mc - g), kernels_.tile_rows[vectors]);
      for (index_t i = 0; i < tiles.pieces; ++i) {  // loop 1
        const index_t row = ic + g + tiles.begin(i);
        tile.a = packs_a_ ? block.packed_a + g * block.kc + tiles.begin(i)
                          : p.a.data + row * p.a.row_stride + block.pc * p.a.col_stride;
        tile.row_bias = is_last && p.row_bias != nullptr ? p.row_bias + row : nullptr;
        run_tile(functions[tiles.size(i)], tile, tiles.size(i),
                 p.c.data + row * p.c.row_stride + begin * p.c.col_stride, p.c);
      }
    }
  }

  void run_tile(TileFunction<T> function, Tile<T>& tile, index_t rows, T* c,
                const MatrixView<T>& layout) const {
    if (layout.col_stride == 1) {
      tile.c = c;
      tile.c_row_stride = layout.row_stride;
      function(tile);
      return;
    }
    // The columns of C are contiguous: the tile is computed aside and transposed into place.
    constexpr index_t kWidth = kMaxTileVectors * kMaxLanes;
    T aside[kMaxTileRows * kWidth];
    tile.c = aside;
    tile.c_row_stride = kWidth;
    if (tile.accumulate) {
      kernels_.transpose(c, layout.col_stride, tile.cols, rows, aside, kWidth);
    }
    function(tile);
    kernels_.transpose(aside, kWidth, rows, tile.cols, c, layout.col_stride);
  }

  // A few rows of C from a B with contiguous columns.
  void run_columns() const {
    const Cut tiles(p_.c.rows, kMaxColumnTileRows);
    const index_t width = 2 * index_t{kernels_.lanes};
    for (index_t j = 0; j < p_.c.cols; j += width) {
      for (index_t i = 0; i < tiles.pieces; ++i) {
        const Problem<T> p =
            p_.part(tiles.begin(i), tiles.size(i), j, std::min(width, p_.c.cols - j));
        kernels_.column_tile[p.c.rows](
            {p.k(), p.a.data, p.a.row_stride, p.a.col_stride, p.b.data, p.b.col_stride, p.c.data,
             p.c.row_stride, static_cast<int>(p.c.cols), p.bias, p.row_bias, p.accumulate});
      }
    }
  }

  const Kernels<T>& kernels_;
  const Problem<T>& p_;
  bool packs_b_;
  bool packs_a_;
  bool streams_;
};

}  // namespace nnext
