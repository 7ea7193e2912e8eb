// The blocked loops of the matrix product in one thread, as a plan says (nnext/plan.h): what they
// still find out, such as whether a panel is needed again, follows from it. The tiles themselves
// are the kernels'.
#pragma once

#include <algorithm>

#include "dispatch.h"
#include "plan.h"
#include "problem.h"
#include "scratch.h"
#include "sum_blocks.h"

namespace nnext {

// A is packed so many rows of k at a time, whose pages all groups use while they are at hand:
// 2048^3 tn with AVX-512 on a Zen 4 core 32 rows 107, 64 101.
constexpr index_t kPackAK = 32;

// Where a tile cannot keep its sums (C that holds something to be added to, in several passes over
// k; C by columns in a run) a part of C of this many bytes is computed on the stack.
constexpr index_t kAsideBytes = index_t{16} << 10;

// Packed B where there is no memory for more: one panel, on the stack.
constexpr index_t kLeanBytes = index_t{16} << 10;

// Elements of C that are computed aside at a time.
template <class T>
constexpr index_t kAside = kAsideBytes / index_t{sizeof(T)};

// Calls compute(sum), where `sum` is p but for its C, which lies in contiguous rows aside; then
// moves that C to where it belongs, or adds it there. p.c has at most kAside<T> elements.
template <class T, class Compute>
void compute_aside(const Problem<T>& p, const Compute& compute) {
  alignas(64) T rows[kAside<T>];
  const Kernels<T>& table = kernels<T>();
  Problem<T> sum = p;
  sum.c = {rows, p.c.rows, p.c.cols, p.c.cols, 1};
  if (p.into != SumInto::kAdd) {  // C is by columns
    if (p.into == SumInto::kContinue) {
      table.transpose(p.c.data, p.c.col_stride, p.c.cols, p.c.rows, rows, p.c.cols);
    }
    compute(sum);
    table.transpose(rows, p.c.cols, p.c.rows, p.c.cols, p.c.data, p.c.col_stride);
    return;
  }
  sum.into = SumInto::kOverwrite;
  sum.bias = sum.row_bias = nullptr;
  compute(sum);
  for (index_t i = 0; i < p.c.rows; ++i) {
    for (index_t j = 0; j < p.c.cols; ++j) {
      T& c = p.c.data[i * p.c.row_stride + j * p.c.col_stride];
      c += rows[i * p.c.cols + j];
      if (p.row_bias != nullptr) c += p.row_bias[i];
      if (p.bias != nullptr) c += p.bias[j];
    }
  }
}

// The same part by part, for a C of any size. Each part passes over all of k.
template <class T, class Compute>
void compute_parts_aside(const Problem<T>& p, const Compute& compute) {
  const index_t rows = std::min<index_t>(p.c.rows, kMaxTileRows);
  constexpr index_t kPanel = kMaxTileVectors * kMaxLanes;
  const index_t cols = kAside<T> / rows / kPanel * kPanel;
  for (index_t j = 0; j < p.c.cols; j += cols) {
    for (index_t i = 0; i < p.c.rows; i += rows) {
      compute_aside(p.part(i, std::min(rows, p.c.rows - i), j, std::min(cols, p.c.cols - j)),
                    compute);
    }
  }
}

// A product whose sums are one chain each, p.k() <= kLongestChain.
template <class T>
class BlockedProduct {
 public:
  BlockedProduct(const Problem<T>& problem, const Plan& plan)
      : BlockedProduct(problem, plan, nullptr) {}

  void run() const {
    if (plan_.order == Order::kColumns) {
      run_columns();
      return;
    }
    if (plan_.order == Order::kRuns) {
      run_runs();
      return;
    }
    for (index_t jc = 0; jc < p_.c.cols;) {  // loop 5
      const index_t cols = std::min(plan_.nc, p_.c.cols - jc);
      run_block(p_.part(0, p_.c.rows, jc, cols));
      jc += cols;
    }
  }

 private:
  // Room for one panel of B, whose rows are kPanel elements at most. With it nothing else is packed
  // and no memory asked for.
  static constexpr index_t kPanel = kMaxTileVectors * kMaxLanes;
  struct LeanRoom {
    static constexpr index_t kRows = kLeanBytes / (kPanel * index_t{sizeof(T)});
    alignas(64) T panel[kRows * kPanel];
  };

  BlockedProduct(const Problem<T>& problem, const Plan& plan, LeanRoom* lean)
      : kernels_(kernels<T>()), p_(problem), plan_(plan), lean_(lean) {}

  // What is left of a run, less than a panel: one block.
  static Plan one_block(Plan plan, const Problem<T>& p) {
    plan.mc = p.c.rows;
    plan.kc = p.k();
    return plan;
  }

  // The same plan in the room of one panel.
  static Plan leaner(Plan plan, const Problem<T>& p, bool packs_panels) {
    plan.packs_a = false;
    plan.mc = p.c.rows;
    if (packs_panels) plan.kc = std::min(plan.kc, LeanRoom::kRows);
    return plan;
  }

  // Loops 4 to 1 on a block of columns of C.
  struct Block {
    const Problem<T>& p;
    Cut panels;  // in vectors
    index_t pc;  // rows [pc, pc + kc) of B are at work
    index_t kc;
    T* packed_a;
    T* packed_b;
  };

  void run_block(const Problem<T>& p) const {
    const index_t k = p.k();
    const index_t most_k = std::min(plan_.kc, k);
    if (p.into == SumInto::kAdd && most_k < k) {
      compute_parts_aside(
          p, [&](const Problem<T>& sum) { BlockedProduct(sum, plan_, lean_).run_block(sum); });
      return;
    }
    const Cut panels(rounded_up(p.c.cols, kernels_.lanes) / kernels_.lanes, plan_.tile_vectors);
    const bool packs_panels = plan_.packs_b || ends_in_part(p);
    const index_t a_rows =
        plan_.packs_a ? rounded_up(std::min(plan_.mc, p.c.rows), plan_.group_rows) : 0;
    const index_t a_size = rounded_up(a_rows * most_k, kMaxLanes);  // B begins with a line
    const index_t b_vectors = keeps_b(p) ? panels.total : packs_panels ? plan_.tile_vectors : 0;
    const index_t size = a_size + most_k * b_vectors * kernels_.lanes;
    T* const memory = size == 0 ? nullptr : lean_ != nullptr ? lean_->panel : scratch<T>(size);
    if (size > 0 && memory == nullptr) {
      LeanRoom room;
      const Plan plan = leaner(plan_, p, packs_panels);
      BlockedProduct(p, plan, &room).run_block(p);
      return;
    }
    Block block{p, panels, 0, 0, memory, memory + a_size};
    do {  // loop 4; once for k = 0, which writes the zeros
      block.kc = std::min(most_k, k - block.pc);
      for (index_t ic = 0; ic < p.c.rows; ic += plan_.mc) {  // loop 3
        const index_t mc = std::min(plan_.mc, p.c.rows - ic);
        if (plan_.packs_a) pack_a(block, ic, mc);
        for (index_t panel = 0; panel < panels.pieces; ++panel) {  // loop 2
          if (ic == 0 && panel_is_packed(block, panel)) pack_panel(block, panel);
          run_panel(block, panel, ic, mc);
        }
      }
      block.pc += block.kc;
    } while (block.pc < k);
  }

  // A panel that ends inside a vector is packed (and padded with zeros) where tiles read whole
  // vectors.
  bool ends_in_part(const Problem<T>& p) const {
    return !kernels_.loads_parts && p.c.cols % kernels_.lanes != 0;
  }
  bool panel_is_packed(const Block& block, index_t panel) const {
    return plan_.packs_b || (panel + 1 == block.panels.pieces && ends_in_part(block.p));
  }

  // Whether packed panels are needed again, for the next rows of C. If not (or if only the last one
  // is packed), they take turns in the room of one, which then stays in the second-level cache:
  // (32, 1024, 1024) nt 101 against 72 GFLOP/s
  // (Zen 4).
  bool keeps_b(const Problem<T>& p) const { return plan_.packs_b && p.c.rows > plan_.mc; }

  T* packed_panel(const Block& block, index_t panel) const {
    const index_t begin = keeps_b(block.p) ? block.panels.begin(panel) * kernels_.lanes : 0;
    return block.packed_b + begin * block.kc;
  }

  void pack_panel(const Block& block, index_t panel) const {
    const MatrixView<const T>& b = block.p.b;
    const index_t begin = block.panels.begin(panel) * kernels_.lanes;
    const index_t width = block.panels.size(panel) * kernels_.lanes;
    kernels_.pack(b.data + block.pc * b.row_stride + begin * b.col_stride, b.row_stride,
                  b.col_stride, block.kc, static_cast<int>(std::min(width, b.cols - begin)),
                  packed_panel(block, panel), width);
  }

  // Rows [ic, ic + mc) of A by groups: element (i, p) of one at p * group_rows + i.
  void pack_a(const Block& block, index_t ic, index_t mc) const {
    static_assert(kPackAK == kRowsAhead, "a group fetches its own place in the next rows of k");
    const MatrixView<const T>& a = block.p.a;
    for (index_t p = 0; p < block.kc; p += kPackAK) {
      const index_t kc = std::min(kPackAK, block.kc - p);
      for (index_t i = 0; i < mc; i += plan_.group_rows) {
        kernels_.pack(a.data + (ic + i) * a.row_stride + (block.pc + p) * a.col_stride,
                      a.col_stride, a.row_stride, kc,
                      static_cast<int>(std::min(plan_.group_rows, mc - i)),
                      block.packed_a + i * block.kc + p * plan_.group_rows, plan_.group_rows);
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
    tile.a_row_stride = plan_.packs_a ? 1 : p.a.row_stride;
    tile.a_col_stride = plan_.packs_a ? plan_.group_rows : p.a.col_stride;
    tile.b = is_packed ? packed_panel(block, panel) : p.b.data + block.pc * p.b.row_stride + begin;
    tile.b_row_stride = is_packed ? width : p.b.row_stride;
    tile.cols = std::min(width, p.c.cols - begin);
    tile.fetches_c = plan_.fetches_c;
    const bool has_next = panel + 1 < block.panels.pieces;
    tile.next_b = plan_.fetches_panels && !is_packed && has_next ? tile.b + width : nullptr;
    tile.bias = is_last && p.bias != nullptr ? p.bias + begin : nullptr;
    tile.into = block.pc > 0 ? SumInto::kContinue : p.into;
    // Tiles may not cross the groups in which A is packed.
    const index_t group = plan_.packs_a ? plan_.group_rows : mc;
    for (index_t g = 0; g < mc; g += group) {
      const index_t rows = std::min(group, mc - g);
      const index_t row = ic + g;
      tile.a = plan_.packs_a ? block.packed_a + g * block.kc
                             : p.a.data + row * p.a.row_stride + block.pc * p.a.col_stride;
      tile.row_bias = is_last && p.row_bias != nullptr ? p.row_bias + row : nullptr;
      T* c = p.c.data + row * p.c.row_stride + begin * p.c.col_stride;
      Cut(rows, tallest_tile(vectors)).by_size([&](index_t height, index_t count) {
        run_tiles(tile, vectors, height, count, c, p.c);
        c += count * height * p.c.row_stride;
      });
    }
  }

  index_t tallest_tile(index_t vectors) const {
    return std::min<index_t>(kernels_.tile_rows[vectors], plan_.tile_rows);
  }

  // Loop 1: `count` tiles of so many rows, one below the other. Moves the tile past them.
  void run_tiles(Tile<T>& tile, index_t vectors, index_t rows, index_t count, T* c,
                 const MatrixView<T>& layout) const {
    if (count == 0) return;
    const TileFunction<T> function = kernels_.tile[vectors][rows];
    const index_t a_step = rows * tile.a_row_stride;
    if (layout.col_stride == 1) {
      tile.c = c;
      tile.c_row_stride = layout.row_stride;
      tile.count = count;
      tile.a_step = a_step;
      tile.c_step = rows * layout.row_stride;
      tile.row_bias_step = rows;
      function(tile);
      tile.a += count * a_step;
      if (tile.row_bias != nullptr) tile.row_bias += count * rows;
      return;
    }
    // The columns of C are contiguous: each tile is computed aside and transposed into place.
    constexpr index_t kWidth = kMaxTileVectors * kMaxLanes;
    T aside[kMaxTileRows * kWidth];
    tile.c = aside;
    tile.c_row_stride = kWidth;
    for (; count > 0; --count, c += rows * layout.row_stride) {
      if (tile.into != SumInto::kOverwrite) {
        kernels_.transpose(c, layout.col_stride, tile.cols, rows, aside, kWidth);
      }
      function(tile);
      kernels_.transpose(aside, kWidth, rows, tile.cols, c, layout.col_stride);
      tile.a += a_step;
      if (tile.row_bias != nullptr) tile.row_bias += rows;
    }
  }

  // For each few rows of k, or of C, all panels in one call, so that the large operand is read, or
  // C written, in long runs.
  void run_runs() const {
    const index_t rows = std::min(plan_.mc, p_.c.rows);
    const index_t most_k = std::min(plan_.kc, p_.k());
    index_t vectors = plan_.tile_vectors;
    while (kernels_.tile_rows[vectors] < rows) --vectors;
    const index_t panel = vectors * kernels_.lanes;
    // Sums that take several passes stay in rows of C, if these may be overwritten.
    const bool aside = p_.c.col_stride != 1 || (p_.into == SumInto::kAdd && most_k < p_.k());
    const index_t most_cols = aside ? std::min(plan_.nc, kAside<T> / rows) : plan_.nc;
    const index_t block = std::max<index_t>(most_cols / panel, 1) * panel;
    const index_t cols = p_.c.cols / panel * panel;
    T* const packed = plan_.packs_b ? scratch<T>(most_k * std::min(block, cols)) : nullptr;
    if (plan_.packs_b && packed == nullptr) {
      run_block(p_);  // which finds a leaner way
      return;
    }
    for (index_t jc = 0; jc < cols; jc += block) {
      const Problem<T> part = p_.part(0, p_.c.rows, jc, std::min(block, cols - jc));
      if (!aside) {
        run_block_along(part, vectors, rows, most_k, packed);
        continue;
      }
      for (index_t i = 0; i < p_.c.rows; i += rows) {
        compute_aside(
            part.part(i, std::min(rows, p_.c.rows - i), 0, part.c.cols),
            [&](const Problem<T>& p) { run_block_along(p, vectors, rows, most_k, packed); });
      }
    }
    if (cols == p_.c.cols) return;
    const Problem<T> rest = p_.part(0, p_.c.rows, cols, p_.c.cols - cols);
    const Plan plan = one_block(plan_, rest);
    BlockedProduct(rest, plan, lean_).run_block(rest);
  }

  // All rows of C with a few rows of B, then with the next: that part of B stays near meanwhile,
  // packed into contiguous rows where it is to be.
  void run_block_along(const Problem<T>& p, index_t vectors, index_t rows, index_t most_k,
                       T* packed) const {
    const index_t width = vectors * kernels_.lanes;
    Tile<T> tile;
    tile.a_row_stride = p.a.row_stride;
    tile.a_col_stride = p.a.col_stride;
    tile.b_row_stride = packed != nullptr ? p.c.cols : p.b.row_stride;
    tile.c_row_stride = p.c.row_stride;
    tile.cols = width;
    tile.count = p.c.cols / width;
    tile.fetches_c = plan_.fetches_c;
    tile.b_step = tile.c_step = tile.bias_step = width;
    for (index_t pc = 0; pc < p.k(); pc += most_k) {
      const bool is_last = pc + most_k >= p.k();
      tile.k = std::min(most_k, p.k() - pc);
      tile.into = pc > 0 ? SumInto::kContinue : p.into;
      const T* const b = p.b.data + pc * p.b.row_stride;
      if (packed != nullptr) {
        kernels_.pack(b, p.b.row_stride, p.b.col_stride, tile.k, static_cast<int>(p.c.cols), packed,
                      p.c.cols);
      }
      for (index_t i = 0; i < p.c.rows; i += rows) {
        tile.a = p.a.data + i * p.a.row_stride + pc * p.a.col_stride;
        tile.b = packed != nullptr ? packed : b;
        tile.c = p.c.data + i * p.c.row_stride;
        tile.bias = is_last ? p.bias : nullptr;
        tile.row_bias = is_last && p.row_bias != nullptr ? p.row_bias + i : nullptr;
        kernels_.tile[vectors][std::min(rows, p.c.rows - i)](tile);
      }
    }
  }

  // A few rows of C from a B with contiguous columns.
  void run_columns() const {
    const Cut tiles(p_.c.rows, kMaxColumnTileRows);
    for (index_t i = 0; i < tiles.pieces; ++i) {
      const Problem<T> p = p_.part(tiles.begin(i), tiles.size(i), 0, p_.c.cols);
      kernels_.column_tile[p.c.rows]({.k = p.k(),
                                      .a = p.a.data,
                                      .a_row_stride = p.a.row_stride,
                                      .a_col_stride = p.a.col_stride,
                                      .b = p.b.data,
                                      .b_row_stride = p.b.col_stride,
                                      .c = p.c.data,
                                      .c_row_stride = p.c.row_stride,
                                      .cols = p.c.cols,
                                      .bias = p.bias,
                                      .row_bias = p.row_bias,
                                      .into = p.into});
    }
  }

  const Kernels<T>& kernels_;
  const Problem<T>& p_;
  const Plan& plan_;
  LeanRoom* lean_;  // null: memory is there
};

// The product by the rule of nnext/sum.h. Long sums go over a block of columns at a time, whose
// part of C stays near between the blocks of k.
template <class T>
void compute_blocked(const Problem<T>& p, const Plan& plan) {
  if (p.into == SumInto::kAdd && p.k() > kLongestChain) {
    compute_parts_aside(p, [&](const Problem<T>& sum) { compute_blocked(sum, plan); });
    return;
  }
  for (index_t jc = 0; jc < p.c.cols;) {
    const index_t cols = p.k() <= kLongestChain ? p.c.cols : std::min(plan.nc, p.c.cols - jc);
    const Problem<T> part = p.part(0, p.c.rows, jc, cols);
    for_sum_blocks(p.k(), p.into, [&](index_t first, index_t count, SumInto into) {
      const Problem<T> terms = part.terms(first, count, into);
      BlockedProduct<T>(terms, plan).run();
    });
    jc += cols;
  }
}

}  // namespace nnext
