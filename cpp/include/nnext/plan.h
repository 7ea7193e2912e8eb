// How a matrix product is computed: every decision that depends on sizes, strides, the instruction
// set or the caches, made once a product. No bit of a result depends on any of them, so whoever
// wants results needs nothing of this: it is for tests, and for who tunes a new CPU
// (benchmarks/plan.py).
//
// Loops are numbered from the outermost, as in the papers on BLIS (Van Zee, van de Geijn 2015):
//   5  columns of C by nc   a packed block of B, kc x nc, in the shared cache
//   4  k by kc              its panels of a tile's width, kc x NR, in the second-level cache
//   3  rows of C by mc      rows of A, mc x kc, stay near while all panels pass
//   2  panels of the block  one panel is read by all tiles of the mc rows
//   1  tiles of the panel   a register tile, MR x NR
// (0, the loop over k inside the tile, is the kernel's.)
#pragma once

#include <optional>

#include "nnext/sum.h"
#include "nnext/types.h"

namespace nnext {

enum class Order {
  kPanels,   // loops 5 to 1
  kRuns,     // few rows of C and of k at a time along many columns, the panels inside the kernel
  kColumns,  // few rows of C from a B with contiguous columns, transposed in registers
};

struct Plan {
  bool transposed = false;  // C^T = B^T A^T, A is read in vectors: fma(a, b, c) = fma(b, a, c)
  int row_parts = 1;        // of C, one a thread
  int col_parts = 1;
  Order order = Order::kPanels;
  bool packs_a = false;
  index_t group_rows = 48;  // of A packed side by side
  bool packs_b = false;
  bool fetches_panels = false;  // of a B in place, tiles prefetch the next panel, not later rows
  bool fetches_c = false;       // tiles prefetch the C of the next one
  int tile_vectors = 1;         // width of the widest tile
  index_t tile_rows = 1;        // the tallest tile, if no more fit the registers
  index_t mc = 1;               // rows of C at a time,
  index_t kc = 1;               // of k,
  index_t nc = 1;               // and columns of C: those of a block, or of a run

  bool operator==(const Plan&) const = default;
};

// The plan of matmul for such operands, on num_threads() threads, with what is wished. C is not
// empty.
template <class T>
Plan matmul_plan(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c, SumInto into);

// What somebody wants of every plan, for tests and benchmarks: it holds where the problem allows it
// (a B whose rows are not contiguous has to be packed, unless its columns are and are read in
// registers; runs need a k of 1 or more). Numbers are 1 or more.
struct PlanWishes {
  std::optional<bool> transposed = {};
  std::optional<Order> order = {};
  std::optional<bool> packs_a = {};
  std::optional<index_t> group_rows = {};
  std::optional<bool> packs_b = {};
  std::optional<bool> fetches_panels = {};
  std::optional<bool> fetches_c = {};
  std::optional<int> tile_vectors = {};
  std::optional<index_t> tile_rows = {};
  std::optional<index_t> mc = {};
  std::optional<index_t> kc = {};
  std::optional<index_t> nc = {};
};

// Null: nothing is wished. The wishes must live as long as products are computed with them.
void wish(const PlanWishes* wishes) noexcept;

}  // namespace nnext
