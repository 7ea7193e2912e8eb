// The decisions of the matrix product. Figures are float32 GFLOP/s of one core of an EPYC, for
// y = x W (nn), dout W^T (nt) or x^T dout (tn): where nothing is said a Zen 4 (32 KiB L1, 1 MiB L2,
// 32 MiB L3; peak 117), "Zen 5" one with 48 KiB L1 (peak 258).
#include "plan.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>

namespace nnext {
namespace {

// k at a time: long, since C is read and written once a block. 1024^3 nn on a Zen 5: 2048 243, 1024
// 241, 512 220; a Sapphire Rapids (2 MiB L2) 1024 with 240 rows of A 151.6, 2048 with 96 147.8, 512
// with 240 149.4, 256 with 96 146.9. Shorter ones where a small second level holds too few rows.
constexpr index_t kBlockK[] = {1024, 512, 256};
static_assert(kBlockK[0] >= kSumBlock, "a block of a long sum stays in the registers of its tile");
constexpr index_t kFewestRows = 48;

// The part of the second level that a panel and the rows of A may fill: 96 rows of 1024 on a Zen 5,
// of which 144 lost 2 and 192 5 %; 240 on the Sapphire Rapids.
constexpr double kSecondLevel = 5.0 / 8;

// Packed B, in the last level: 4 and 8 MiB are level, 16 loses 5 % at 2048^3 (Zen 5).
constexpr index_t kPackedBytes = index_t{8} << 20;

// An operand of more bytes than this counts as one that comes from memory.
constexpr index_t kLargeBytes = index_t{4} << 20;

// B with contiguous rows is read where it lies for up to kRowsInPlace rows of C times the part of
// its panel that the second level keeps at this stride; else packing costs less than reading what
// has left the cache again. Packed over in place on a Zen 5 (AVX-512; AVX2), K x N = 1024 x 1024,
// whose panel is 4 times what the cache keeps: 12 rows 0.65 (0.90), 24 0.91 (1.19), 32 1.14 (1.45);
// 784 x 512, 1.5 times: 64 0.93 (1.01), 128 1.02 (1.02), 512 1.11 (1.17); 512 x 512, as much as is
// kept: 64 0.91 (0.97), 128 0.98 (1.02), 256 1.01; 256 x 256 and 1000 x 1000, a quarter: 256 1.01
// and 0.92, 512 1.03 and 1.00. A Sapphire Rapids: 128 x 784 x 512, three quarters, 82 in place and
// some 150 packed; in float64 512^3, as much as is kept, 31 and 80.
constexpr double kRowsInPlace = 96;
// More bytes of B than kLargeBytes come from beyond the caches, whose long rows packing follows
// better: 256 rows of 512 x 10000 1.06 (1.08), 100 rows 0.94 (0.94).
constexpr index_t kRowsFromAfar = 160;
// Tiles of one line, AVX2 and NEON, touch a line in each row of B, or two, and come back for the
// next: where they are more than kLinesInPlace B is packed from kRowsForLines rows on, however
// large. Packed over in place, x^T dout of 257 x 511 x 129 1.20 (float64 1.40), of 32 x 784 x 256
// in float64 1.33, of 700 x 100 x 10000 1.35 (1.25), 64 x 784 x 128 nn in float64 1.10, 256^3 1.01;
// 100 x 100 x 10000, whose lines stay, 0.95 (0.85). On a Zen 5 64 rows 0.97 to 1.01, 128 1.02, and
// the 0.94 of 100 rows from memory is given up.
constexpr index_t kRowsForLines = 64;
// And from so many rows on, whatever its lines, if all of B is more than the second level: 700 x
// 100 x 10000 nn 1.20, x^T dout of 100 x 700 x 10000 1.12, 300 rows 0.93; on a Zen 5 700 rows 0.98.
constexpr index_t kManyRowsForLines = 512;

// An operand that is read a line of each row at a time may fill half of the lines that the first
// level keeps: the rest is the other's, and C's. A, from x^T dout of 256 x 784 x 2048 in float64,
// whose lines are just as many as are kept: packed 1.10 with AVX2, 0.99 with AVX-512.
constexpr double kLinesInPlace = 0.5;

// Columns of C from which on packing A pays.
constexpr index_t kPackAColumns = 128;
// Tiles of one line come back to A more often: from kPackAFewColumns on where its lines, kFullOfA
// times as many as are kept, all fall into one set. On a Zen 5, AVX2, x^T dout of 1000 x 4096 x 64
// 1.57, 500 x 1024 x 32 1.14, 64 x 1024 x 64 1.28, 128 x 512 x 64 in float64 1.34; 200 x 512 x 64
// in float32, two sets, 0.89; with AVX-512 the second 0.86.
constexpr index_t kPackAFewColumns = 32;
constexpr double kFullOfA = 4;

// A is packed in groups of so many rows, so that a row of k is copied in long pieces: 2048^3 tn 48
// rows 107, 12 103, 24 106, 96 level. Beside panels of one line, AVX2, the line of A that each step
// of k reads counts as much, and fewer rows share it sooner: 1024^3 tn, 48 rows 95, 24 101, 12 100,
// 6 103; 512^3 101, 105, 104, 100.
constexpr index_t kGroupRows = 48;
constexpr index_t kGroupRowsBesideLines = 24;

// Products that move at the pace of memory pass over long runs of the large operand, the loop over
// panels inside the kernel. Few rows of C from a B of more than half of the second level, or more
// bytes than kStreamBytes: some rows of B at a time, kStreamColumns columns. (1, 1024, 1024) nn 31
// against 18 when each panel was a call of its own, (1, 512, 512) nn 41 against 28, in float64 19
// against 12. kStreamColumns of 1024 to 8192 are level. Prefetching won 0 to 15 % there and lost
// up to 40 % where B lies in the shared cache; fetching the next rows between calls of four tiles
// won nothing and lost up to 30 % at (4, 1024, 1024).
constexpr index_t kStreamRows = 8;
constexpr index_t kStreamBytes = index_t{1} << 20;
constexpr index_t kStreamColumns = 2048;

// More rows of C, up to kRunRows, from a B whose panel does not stay for kRowsBeforeRuns of them
// (as for kRowsInPlace): some rows of it at a time, which all rows of C read along kRunColumns
// while they are near. On a Zen 5 over packing it 16 x 2048 x 4096 1.6, 24 1.5, 48 1.15, 32 x 2048
// x 2048 1.17, with AVX2 16 2.0, 48 1.17; 64 rows 1.08, 1.18, 128 x 2048 x 2048 1.05, 0.95. Over
// reading it in place 16 x 1024 x 1024, 64 rows' worth, 1.09 and 1.69, 32 x 784 x 512, 48, 1.01
// and 1.14; 16 x 512 x 512, 16, 0.88 and 0.93.
constexpr index_t kRunRows = 48;
constexpr double kRowsBeforeRuns = 32;
constexpr index_t kRunColumns = 1024;

// Rows of B in a run. For one or two rows of C as many as three quarters of the first level's ways
// keep at B's stride: (1, 1024, 1024) nn, 4 KiB apart, 6 rows 29, 8 25, 16 14 (8 ways; on a Zen 5
// with 12 ways 16 lose 32 % to 8); (1, 1000, 1000) 8 38, 16 39. For more, C wants to be read and
// written less often: 16 over 8 rows for eight of C on a Zen 5 1.16, with AVX2 1.18.
constexpr index_t kStreamK = 16;

// Bytes along a row of B that a tile of a run reads, if so many rows of C have room: a line or two
// keep too few reads under way, four lines of eight rows more than the CPU has buffers for.
// AVX-512, (1, 1024, 1024) nn in lines: 1 18, 2 25, 3 25, 4 19; (4, 1024, 1024) tn in float64: 2
// 21, 3 24, 4 14. With AVX2, vectors of half a line, (1, 1024, 1024) nn: 1 25, 2 18, 3 30, 4 35;
// (4, 1024, 1024) nn: 2 35, 3 50.
constexpr index_t kRunBytes = 192;

// A k so short that writing C is most of the work: as many rows of C at a time as the widest tiles
// take, kShortKRows at least, along whole rows. On a Zen 5 x^T dout of 1 x 1024 x 1024 47 against
// 27 with a row at a time (AVX2 33, 23), of 4 x 1024 x 1024 140 against 60 (AVX2 98, 57; by panels
// 18), of 8 206 against 151 by panels, of 16 level. Tiles of one line, by panels, write a line of
// each of many rows: of 5 x 1024 x 1024 16 against 110 in runs, of 8 28 and 124, of 16 64 and 89.
// Fetching C loses 1 to 15 % here. A B whose columns are contiguous, of dout W^T, is packed first,
// all of its few rows: 500 x 1024 x 2 nt 83 against 33 by panels (AVX2 64, 7), 1000 x 1024 x 10
// level (129, 35), 64 x 1024 x 10 level (117, 73).
constexpr index_t kShortK = 8;
constexpr index_t kShortKForLines = 16;  // where rows of C have kLongRow columns: of 10 x 300 x 32
constexpr index_t kLongRow = 128;        // 74 in runs, 99 by panels
constexpr index_t kShortKRows = 4;
// Threads take whole rows of such a C where it has kWholeRows for each: there two that wrote half
// of each row were slower than one, 13 against 25, and with rows of their own 33 to 46. With fewer
// rows, longer ones, halves are right: (6, 4, 1000000) nn 1.8 times one thread.
constexpr index_t kWholeRows = 48;

// A large C from a B that is smaller: a tile's rows of C at a time, along columns whose part of B
// stays in a quarter of the second level, each tile prefetching the C of the next.
// 256 x 48 x 128256 tn: 94 against 64 panel by panel, 86 without the prefetch. Stores past the
// caches instead: level on a Zen 5 (0.99 to 1.02). Not where A or B leaves the caches between two
// uses, so that packing pays: x^T dout of 256 x 2048 x 2048 102 in panels against 85, 4096 x 64 x
// 1024 nn 100 against 90; but 1000 x 100 x 4000, 16000 bytes apart, 100 against 104, x^T dout of
// 48 x 768 x 20000 82 against 96. Nor with tiles of one line, AVX2, that would read B line by line:
// the first two and the last 100 against 39, 88 against 59, 79 against 52; 48 x 256 x 128256 72
// against 54.
constexpr index_t kLargeCK = 512;
// A, read by its columns, may have twice the lines that the first level keeps: 48 for 32 in the
// last of these, 256 for 8 in the first, 128 for 16 with x^T dout of 128 x 512 x 10000, 0.90.
constexpr double kLargeCLines = 2;

// With so few rows of C, a B with contiguous columns is transposed in registers instead of packed:
// nt of 1, 4, 8, 12 x 1024 x 1024 20, 56, 70, 67 against 16, 30, 37, 53; from 16 rows on packing is
// level. The shuffles bound a single row: NumPy sums along k in vectors, 37, which is another order
// of additions.
constexpr index_t kColumnsRows = 16;

// A second thread pays from this many multiply-adds on: some 5 us of one core against a fork and
// join of about 1 us.
constexpr double kThreadWork = 2.5e5;

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
// side by side, so many of them would fill.
double crowding(index_t lines, const Cache& cache, index_t stride, index_t width) {
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

// The width of tiles in vectors: wider ones than for many rows where few rows would leave the CPU
// fewer sums than it has multiply-adds under way. 1 x 256 x 256 nn with AVX2 on a Zen 5 53 with
// four vectors, 31 with two.
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
  const index_t stride = bytes<T>(p.b.row_stride);
  if (stride == 0) return 0;  // one row, again and again
  const index_t width = tile_bytes(table);
  const index_t lines = std::min(p.k(), plan.kc) * Cut(width, caches.l2.line).pieces;
  return static_cast<double>(p.c.rows) * crowding(lines, caches.l2, stride, width);
}

// The same for tiles of one line and the first level.
template <class T>
bool lines_outgrow_first_level(const Plan& plan, const Problem<T>& p, const Caches& caches) {
  const index_t line = caches.l1.line;
  const index_t stride = bytes<T>(p.b.row_stride);
  if (stride == 0) return false;
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

template <class T>
bool should_pack_a(const Plan& plan, const Problem<T>& p, const Kernels<T>& table,
                   const Caches& caches) {
  if (p.c.rows <= kStreamRows) return false;
  const double crowded = crowding_by_a(plan, p, caches);
  if (p.c.cols >= kPackAColumns) return crowded > kLinesInPlace;
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

// Whether its lines push each other out of the first level before the next tile reads on.
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

template Plan plan_product<float>(const Problem<float>&, const Kernels<float>&, const Caches&, int);
template Plan plan_product<double>(const Problem<double>&, const Kernels<double>&, const Caches&,
                                   int);

}  // namespace nnext
