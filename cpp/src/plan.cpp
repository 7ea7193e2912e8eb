// The decisions of the matrix product. Their thresholds, and the figures behind them, are in
// plan_thresholds.h.
#include "plan.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>

#include "plan_thresholds.h"

namespace nnext {
namespace {

std::atomic<const PlanWishes*> the_wishes{nullptr};

template <class T>
constexpr index_t bytes(index_t elements) {
  return elements * index_t{sizeof(T)};
}

// Of a row of the widest tile for many rows.
template <class T>
index_t tile_bytes(const Kernels<T>& table) {
  return bytes<T>(index_t{table.tile_vectors} * table.lanes);
}

// How many times over the lines that a cache keeps of rows `stride` bytes apart, read `width` bytes
// side by side, so many of them would fill. Not at all at stride 0: one row, again and again.
double crowding(index_t lines, const Cache& cache, index_t stride, index_t width) {
  if (stride == 0) return 0;
  return static_cast<double>(lines) / static_cast<double>(lines_kept(cache, stride, width));
}

template <class T>
bool may_read_columns(const Problem<T>& p) {
  return p.b.row_stride == 1 && p.b.col_stride != 1 && p.c.col_stride == 1 &&
         p.c.rows <= kColumnsRows;
}

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
  if (may_read_columns(p)) {
    cycles += kSquare * real(Cut(p.c.rows, kMaxColumnTileRows).pieces) * real(p.k() * p.c.cols);
  } else if (p.b.col_stride != 1) {
    cycles += kTranspose * real(p.k() * p.c.cols);
  }
  if (p.c.col_stride != 1) {
    const bool reads_too = p.into != SumInto::kOverwrite || p.k() > kBlockK[0];
    cycles += kTranspose * real(p.c.rows) * real(p.c.cols) * (reads_too ? 2 : 1);
  }
  return cycles;
}

template <class T>
bool is_better_transposed(const Problem<T>& p, const Kernels<T>& table) {
  constexpr double kTiny = 4096;  // multiply-adds; below, the choice would cost more than it saves
  const bool rows_are_fast = p.b.col_stride == 1 && p.c.col_stride == 1;
  if (rows_are_fast && p.multiply_adds() < kTiny) return false;
  return estimated_cycles(p.transposed(), table) < estimated_cycles(p, table);
}

// Whether k is so short that writing C is most of the work.
template <class T>
bool writes_more(const Problem<T>& p, const Kernels<T>& table, const Caches& caches) {
  const bool writes_lines = tile_bytes(table) <= caches.l1.line && p.c.cols >= kLongRow;
  return p.k() <= (writes_lines ? kShortKForLines : kShortK);
}

// Splits C among threads as a grid of whole tiles: the grid whose largest share is smallest. Parts
// narrower than a tile count an eighth more: threads that write such parts of one row of C share
// its cache lines. (10000, 10, 10) in float64 cut into 8 and 2 columns: 22 GFLOP/s on two threads,
// 34 on one. Otherwise columns are as good as rows, and better where rows are few: each thread
// reads its own part of B alone.
template <class T>
void cut_among_threads(Plan& plan, const Problem<T>& p, const Kernels<T>& table,
                       const Caches& caches, int threads) {
  const index_t row_tiles = Cut(p.c.rows, table.tile_rows[table.tile_vectors]).pieces;
  const bool whole_rows = writes_more(p, table, caches) && p.c.rows >= threads * kWholeRows;
  const index_t col_vectors = whole_rows ? 1 : Cut(p.c.cols, table.lanes).pieces;
  index_t least = 8 * row_tiles * col_vectors;
  for (int rows = 1; rows <= threads; ++rows) {
    const int cols = threads / rows;
    const index_t width = Cut(col_vectors, cols).pieces;
    const index_t narrow = cols > 1 && width < table.tile_vectors ? 9 : 8;
    const index_t share = Cut(row_tiles, rows).pieces * width * narrow;
    if (share < least && rows <= row_tiles && cols <= col_vectors) {
      least = share;
      plan.row_parts = rows;
      plan.col_parts = cols;
    }
  }
}

// mc, kc, nc by the caches.
template <class T>
void choose_blocks(Plan& plan, const Kernels<T>& table, const Caches& caches) {
  const auto room = static_cast<index_t>(kSecondLevel * static_cast<double>(caches.l2.size));
  for (const index_t kc : kBlockK) {
    plan.kc = kc;
    plan.mc = (room - kc * tile_bytes(table)) / bytes<T>(kc) / kFewestRows * kFewestRows;
    if (plan.mc >= kFewestRows) break;
  }
  plan.mc = std::max(plan.mc, kFewestRows);
  const index_t last = caches.l3.size > 0 ? caches.l3.size / 4 : caches.l2.size / 2;
  const index_t lanes = index_t{kMaxTileVectors} * kMaxLanes;
  plan.nc = std::max(std::min(kPackedBytes, last) / bytes<T>(plan.kc) / lanes, index_t{1}) * lanes;
}

// How often a panel of B in place would leave the second level before all rows have passed: rows of
// C times what the panel takes of the lines that are kept.
template <class T>
double rereading(const Plan& plan, const Problem<T>& p, const Kernels<T>& table,
                 const Caches& caches) {
  const index_t width = tile_bytes(table);
  const index_t lines = std::min(p.k(), plan.kc) * Cut(width, caches.l2.line).pieces;
  return static_cast<double>(p.c.rows) *
         crowding(lines, caches.l2, bytes<T>(p.b.row_stride), width);
}

// The same for tiles of one line and the first level.
template <class T>
bool lines_outgrow_first_level(const Plan& plan, const Problem<T>& p, const Caches& caches) {
  const index_t line = caches.l1.line;
  const index_t stride = bytes<T>(p.b.row_stride);
  const index_t lines = std::min(p.k(), plan.kc) * (stride % line == 0 ? 1 : 2);
  return crowding(lines, caches.l1, stride, line) > kLinesInPlace;
}

// Whether B with contiguous rows is copied into panels first.
template <class T>
bool should_pack_b(const Plan& plan, const Problem<T>& p, const Kernels<T>& table,
                   const Caches& caches) {
  if (p.c.rows <= kStreamRows) return false;
  const bool comes_from_afar = bytes<T>(p.k() * p.c.cols) > kLargeBytes;
  if (p.c.rows > kRowsFromAfar && comes_from_afar) return true;
  if (tile_bytes(table) <= caches.l1.line) {
    const bool is_left = bytes<T>(p.k() * p.c.cols) > caches.l2.size;
    if (p.c.rows >= kManyRowsForLines && is_left) return true;
    if (p.c.rows >= kRowsForLines && lines_outgrow_first_level(plan, p, caches)) return true;
  }
  return rereading(plan, p, table, caches) > kRowsInPlace;
}

// How crowded the first level is by the lines of a column of tiles, from an A with contiguous
// columns. The tiles beside them share them.
template <class T>
double crowding_by_a(const Plan& plan, const Problem<T>& p, const Caches& caches) {
  if (p.a.row_stride != 1 || p.a.col_stride == 1) return 0;
  const index_t line = caches.l1.line;
  const index_t stride = std::abs(bytes<T>(p.a.col_stride));
  if (stride < line) return 0;  // no column has a line of its own
  return crowding(std::min(p.k(), plan.kc), caches.l1, stride, line);
}

// Pages that a tile visits along such an A.
template <class T>
index_t pages_of_a(const Plan& plan, const Problem<T>& p) {
  constexpr index_t kPage = 4096;
  if (p.a.row_stride != 1 || p.a.col_stride == 1) return 0;
  return std::min(p.k(), plan.kc) * std::min(std::abs(bytes<T>(p.a.col_stride)), kPage) / kPage;
}

template <class T>
bool should_pack_a(const Plan& plan, const Problem<T>& p, const Kernels<T>& table,
                   const Caches& caches) {
  if (p.c.rows <= kStreamRows) return false;
  const double crowded = crowding_by_a(plan, p, caches);
  if (p.c.cols >= kPackAColumns) {
    return crowded > kLinesInPlace || pages_of_a(plan, p) > kPagesInPlace;
  }
  const index_t way = caches.l1.size / caches.l1.ways;
  return tile_bytes(table) <= caches.l1.line && p.c.cols >= kPackAFewColumns &&
         crowded > kFullOfA && bytes<T>(p.a.col_stride) % way == 0;
}

// Whether a large C is computed in runs.
template <class T>
bool should_run_along_c(const Plan& plan, const Problem<T>& p, const Kernels<T>& table,
                        const Caches& caches) {
  return p.k() <= kLargeCK && p.k() < p.c.rows && bytes<T>(p.c.rows * p.c.cols) > kLargeBytes &&
         tile_bytes(table) > caches.l1.line && crowding_by_a(plan, p, caches) <= kLargeCLines &&
         rereading(plan, p, table, caches) <= kRowsInPlace;
}

// Whether a B that few rows of C read comes from beyond the second level.
template <class T>
bool streams_b(const Problem<T>& p, const Caches& caches) {
  return bytes<T>(p.k() * p.c.cols) > std::min(caches.l2.size / 2, kStreamBytes);
}

// Whether its lines push each other out of the first level before the next tile reads on. With
// tiles of one line half as many rows of C leave too narrow tiles beside: (8, 128, 512) nn in
// float64 0.88.
template <class T>
bool lines_collide(const Problem<T>& p, const Kernels<T>& table, const Caches& caches) {
  const index_t line = caches.l1.line;
  const index_t most = tile_bytes(table) > line ? kStreamRows : kStreamRows / 2;
  return p.c.rows <= most && crowding(p.k(), caches.l1, bytes<T>(p.b.row_stride), line) > 1;
}

// Rows of B in a run for few rows of C.
template <class T>
index_t run_k(const Problem<T>& p, const Caches& caches) {
  if (p.c.rows > (streams_b(p, caches) ? 2 : kStreamRows / 2)) return kStreamK;
  const index_t line = caches.l1.line;
  const index_t rows_kept = lines_kept(caches.l1, bytes<T>(p.b.row_stride), line);
  return std::clamp(rows_kept * 3 / 4, index_t{1}, kStreamK);
}

template <class T>
int vectors_of_run(const Kernels<T>& table) {
  return static_cast<int>(
      std::clamp<index_t>(kRunBytes / bytes<T>(table.lanes), 1, kMaxTileVectors));
}

// The widest tile, of at most so many vectors, for a run of so many rows.
template <class T>
int widest_for(index_t rows, const Kernels<T>& table, int width) {
  while (table.tile_rows[width] < rows) --width;
  return width;
}

// What runs along long rows of a large operand, if that is what bounds the product.
template <class T>
void choose_order(Plan& plan, const Problem<T>& p, const Kernels<T>& table, const Caches& caches) {
  if (may_read_columns(p)) {
    plan.order = Order::kColumns;
    return;
  }
  const bool c_in_rows = p.c.col_stride == 1;
  const auto run = [&](int width, index_t rows, index_t k, index_t cols) {
    plan.order = Order::kRuns;
    plan.packs_b = p.b.col_stride != 1;
    plan.tile_vectors = width;
    plan.mc = rows;
    plan.kc = k;
    plan.nc = cols;
  };
  if (p.k() == 0) return;
  const int width = table.tile_vectors;
  if (writes_more(p, table, caches) && c_in_rows) {
    const index_t most = std::max(index_t{table.tile_rows[kMaxTileVectors]}, kShortKRows);
    const index_t rows = std::min(most, p.c.rows);
    run(widest_for(rows, table, kMaxTileVectors), rows, p.k(), kStreamColumns);
  } else if (p.b.col_stride != 1) {
    return;
  } else if (p.c.rows <= kStreamRows) {
    const bool streams = streams_b(p, caches);
    if (streams || lines_collide(p, table, caches)) {
      const int most = streams ? vectors_of_run(table) : kMaxTileVectors;
      run(widest_for(p.c.rows, table, most), p.c.rows, run_k(p, caches), kStreamColumns);
    }
  } else if (c_in_rows && p.c.rows <= kRunRows &&
             rereading(plan, p, table, caches) > kRowsBeforeRuns) {
    const int most = std::min(width, vectors_of_run(table));
    const Cut tiles(p.c.rows, table.tile_rows[most]);
    const index_t rows = Cut(p.c.rows, tiles.pieces).pieces;
    run(most, rows, tile_bytes(table) > caches.l1.line ? kStreamK : kStreamK / 2, kRunColumns);
  } else if (c_in_rows && should_run_along_c(plan, p, table, caches)) {
    const index_t cols = caches.l2.size / 4 / bytes<T>(p.k());
    run(width, table.tile_rows[width], p.k(), std::max(cols, index_t{1}));
  }
}

// All of a product that the first level holds. To find what else it could want would cost more: 40
// of the 320 ns that a call with 1 x 10 x 10 takes (Zen 5).
template <class T>
void plan_in_one_block(Plan& plan, const Problem<T>& p, const Kernels<T>& table) {
  plan.order = may_read_columns(p) ? Order::kColumns : Order::kPanels;
  plan.packs_b = p.b.col_stride != 1 && plan.order == Order::kPanels;
  plan.tile_vectors = width_for(p.c.rows, table);
  plan.mc = p.c.rows;
  plan.kc = std::max(p.k(), index_t{1});
  plan.nc = p.c.cols;
}

template <class T>
void grant(Plan& plan, const PlanWishes& w, const Problem<T>& p, const Kernels<T>& table) {
  if (w.fetches_panels) plan.fetches_panels = *w.fetches_panels;
  if (w.fetches_c) plan.fetches_c = *w.fetches_c;
  if (w.tile_rows) plan.tile_rows = *w.tile_rows;
  if (w.tile_vectors) plan.tile_vectors = std::min(*w.tile_vectors, kMaxTileVectors);
  if (w.mc) plan.mc = *w.mc;
  if (w.kc) plan.kc = *w.kc;
  if (w.nc) plan.nc = *w.nc;
  if (w.packs_a) plan.packs_a = *w.packs_a;
  if (w.group_rows) plan.group_rows = *w.group_rows;
  if (w.packs_b) plan.packs_b = *w.packs_b;
  if (w.order) plan.order = *w.order;
  if (plan.order == Order::kRuns && p.k() == 0) plan.order = Order::kPanels;
  if (plan.order == Order::kColumns && !may_read_columns(p)) plan.order = Order::kPanels;
  if (plan.order != Order::kColumns && p.b.col_stride != 1) plan.packs_b = true;
  if (plan.order == Order::kRuns) {
    plan.packs_a = false;
    plan.mc = std::min({plan.mc, plan.tile_rows, index_t{table.tile_rows[1]}});
  }
}

}  // namespace

void wish(const PlanWishes* wishes) noexcept { the_wishes = wishes; }

index_t lines_kept(const Cache& cache, index_t stride, index_t width) {
  if (cache.size == 0) return 0;
  const index_t way = cache.size / cache.ways;
  const index_t step = stride == 0 ? way : std::min(stride & -stride, way);
  // Rows begin at way / step places, each of them in so many sets.
  const index_t sets = std::min(cache.sets(), way / step * ((width + cache.line - 1) / cache.line));
  return sets * cache.ways;
}

template <class T>
int width_for(index_t rows, const Kernels<T>& table) {
  constexpr index_t kUnderWay = 8;
  int width = table.tile_vectors;
  while (width < kMaxTileVectors && rows * width < kUnderWay &&
         rows <= table.tile_rows[width + 1]) {
    ++width;
  }
  return width;
}

template <class T>
Plan plan_product(const Problem<T>& whole, const Kernels<T>& table, const Caches& caches,
                  int threads) {
  const PlanWishes* const wanted = the_wishes;
  Plan plan;
  const bool is_told = wanted != nullptr && wanted->transposed.has_value();
  plan.transposed = is_told ? *wanted->transposed : is_better_transposed(whole, table);
  Problem<T> p = plan.transposed ? whole.transposed() : whole;
  plan.tile_rows = kMaxTileRows;
  if (bytes<T>(p.c.rows * p.k() + p.k() * p.c.cols + p.c.rows * p.c.cols) <= caches.l1.size / 2) {
    plan_in_one_block(plan, p, table);
    if (wanted != nullptr) grant(plan, *wanted, p, table);
    return plan;
  }
  threads = static_cast<int>(std::min<double>(threads, p.multiply_adds() / kThreadWork));
  if (threads > 1) cut_among_threads(plan, p, table, caches, threads);
  // From here on for the part of one thread.
  p.a.rows = p.c.rows = Cut(p.c.rows, plan.row_parts).pieces;
  p.b.cols = p.c.cols = Cut(p.c.cols, plan.col_parts).pieces;

  if (p.k() > kLongestChain) p.a.cols = p.b.rows = kSumBlock;
  plan.tile_vectors = width_for(p.c.rows, table);
  choose_blocks(plan, table, caches);
  choose_order(plan, p, table, caches);
  const bool runs = plan.order == Order::kRuns;
  if (plan.order == Order::kPanels) {
    plan.packs_b = p.b.col_stride != 1 || should_pack_b(plan, p, table, caches);
    plan.packs_a = should_pack_a(plan, p, table, caches);
    plan.group_rows = tile_bytes(table) > caches.l1.line ? kGroupRows : kGroupRowsBesideLines;
  }
  plan.fetches_panels = bytes<T>(p.k() * p.c.cols) > caches.l2.size;
  plan.fetches_c = p.c.col_stride == 1 && (runs ? plan.kc >= p.k() && !writes_more(p, table, caches)
                                                : bytes<T>(p.c.rows * p.c.cols) > kLargeBytes);
  // A taller tile would read each element of A from the second level: on a Zen 4 core
  // 1000 x 1024 x 7 nn 65 against 25 with tiles of 14 rows, in float64 128 x 512 x 10 40 against 35
  // with tiles of 12.
  if (!plan.packs_a && p.a.row_stride != 0) {
    plan.tile_rows =
        std::min(plan.tile_rows, lines_kept(caches.l1, bytes<T>(p.a.row_stride), caches.l1.line));
  }
  if (wanted != nullptr) grant(plan, *wanted, p, table);
  return plan;
}

template int width_for<float>(index_t, const Kernels<float>&);
template int width_for<double>(index_t, const Kernels<double>&);
template Plan plan_product<float>(const Problem<float>&, const Kernels<float>&, const Caches&, int);
template Plan plan_product<double>(const Problem<double>&, const Kernels<double>&, const Caches&,
                                   int);

}  // namespace nnext
