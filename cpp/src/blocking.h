// The sizes that cut the loops of the matrix product: which loop each cuts, which cache it must
// fit. Figures are float32 GFLOP/s of one core of an EPYC, for y = x W (nn), dout W^T (nt) or
// x^T dout (tn): where nothing is said a Zen 5 (48 KiB L1, 1 MiB L2, 32 MiB L3; FMA peak 258 in the
// same runs), else a Zen 4 (32 KiB L1, the same L2 and L3; peak 117).
//
// Loops are numbered from the outermost, as in the papers on BLIS (Van Zee, van de Geijn 2015):
//   5  jc  columns of C by kNC   a packed block of B, kKC x kNC, in the shared cache
//   4  pc  k by kKC              its panels of a tile's width, kKC x NR, in the second-level cache
//   3  ic  rows of C by kMC      rows of A, kMC x kKC, stay near while all panels pass
//   2  jr  panels of the block   one panel is read by all tiles of the kMC rows
//   1  ir  tiles of the panel    a register tile, MR x NR
// (0, the loop over p inside the tile, is the kernel's.)
#pragma once

#include "nnext/sum.h"
#include "nnext/types.h"

namespace nnext {

// Long blocks of k: C is read and written once a block. 1024^3 nn: 2048 gives 243, 1024 241, 512
// 220. A panel of 2048 x 64 floats is half of L2; shorter panels that fit L1 lost (K = 64: 217).
constexpr index_t kKC = 2048;
static_assert(kKC >= kSumBlock, "a block of a long sum is to stay in the registers of its tile");

// 48 and 96 rows are level at 2048^3 (235), 144 and 192 lose 2 to 5 %: A must leave L2 to the
// panel.
constexpr index_t kMC = 96;

// 8 MiB of packed B. 512 and 1024 are level, 2048 loses 5 % at 2048^3.
constexpr index_t kNC = 1024;

// B with contiguous rows is read where it lies, not packed, when it is used for few rows of C or is
// short enough in k for its rows to stay in the caches. Unpacked against packed: 256^3 256 to 243,
// 512^3 level, 1024^3 230 to 250; 100 x 100 x 10000 248 to 221.
constexpr index_t kUnpackedRows = 128;
constexpr index_t kUnpackedK = 512;

// Blocks of k of such a B that comes from memory: its panels lie side by side, so that while the
// block stays in the second-level cache the later ones are there already. dx = dout W^T of
// 48 x 128256 x 768 on two Zen 4 cores: 189 with 512 (and 256), 186 with 64, 127 with kKC.
constexpr index_t kUnpackedKC = 512;

// Where B is read as it lies, the tiles of a panel prefetch the next panel: each of its rows is a
// piece of 256 bytes somewhere else, which no hardware prefetcher follows. From memory, on a Zen 4
// core (peak 115): 48 x 768 x 128256 105 against 80, 48 x 256 x 128256 102 against 79. All of it in
// the first tiles is as good as spread over all of them; two panels ahead lost 5 %, into the second
// cache alone (prefetcht1) all of the gain.

// Products that move at the pace of memory (figures of a Zen 4 core, peak 115) pass over long runs
// of the large operand, the loop over panels inside the kernel.
// Few rows of C from more bytes of B than kStreamBytes: kStreamKC rows of B at a time, kStreamNC
// columns. (1, 1024, 1024) nn: 34 against 18 when each panel was a call of its own. At
// (8, 4096, 4096) nn kStreamKC = 4 gives 38, 8 46, 16 36; kStreamNC of 1024 to 8192 are level.
// Prefetching won 0 to 15 % there and lost up to 40 % where B lies in the shared cache; fetching
// the next rows between calls of four tiles won nothing and lost up to 30 % at (4, 1024, 1024).
constexpr index_t kStreamRows = 8;
constexpr index_t kStreamBytes = index_t{1} << 20;
constexpr index_t kStreamKC = 8;
constexpr index_t kStreamNC = 2048;

// A k so short that writing C is most of the work: a row of C at a time. (1, 1024, 1024) tn: 29
// against 18. Threads take whole rows of such a C where it has kRowsFirstRows for each: there two
// that wrote half of each row were slower than one, 13 against 25, and with rows of their own 33 to
// 46. With fewer rows, longer ones, halves are right: (6, 4, 1000000) nn 1.8 times one thread.
constexpr index_t kRowsFirstK = 4;
constexpr index_t kRowsFirstRows = 48;
constexpr index_t kStreamCRows = 1;

// More bytes of C than this from a B that is smaller: a tile's rows of C at a time, along columns
// whose part of B, kStreamBBytes, stays in the second-level cache, each tile prefetching the C of
// the next. 256 x 48 x 128256 tn: 94 against 64 panel by panel, 86 without the prefetch.
constexpr index_t kStreamCBytes = index_t{4} << 20;
constexpr index_t kStreamBBytes = index_t{256} << 10;

// With so few rows of C, a B with contiguous columns is transposed in registers instead of packed:
// nt of 1, 4, 8, 12 x 1024 x 1024 (Zen 4) 20, 56, 70, 67 against 16, 30, 37, 53; from 16 rows on
// packing is level. The shuffles bound a single row: NumPy sums along k in vectors, 37, which is
// another order of additions.
constexpr index_t kColumnTileRows = 16;

// Rows of A a multiple of kL1Period bytes apart share one set of the first-level cache, which has
// room for kL1Ways lines (32 KiB; 12 in 48 KiB): a taller tile would read each element of A from
// the second level. On a Zen 4 core 1000 x 1024 x 7 nn: 65 against 25 with tiles of
// 14 rows, in float64 128 x 512 x 10: 40 against 35 with tiles of 12. Tiles of 6 and 7 are level.
constexpr index_t kL1Period = 4096;
constexpr index_t kL1Ways = 8;

// A with contiguous columns (tn) is packed when its k rows span more than this: each would touch a
// page of its own for every tile. 2048^3 tn: 227 against 180. In groups of kPackedRows rows, so
// that a row of k is copied in long pieces: on a Zen 4 core (peak 117) 2048^3 107, 12 rows 103, 24
// 106, 96 level; kPackAK rows of k at a time, whose pages all groups use while they are at hand
// (64: 101).
constexpr index_t kUnpackedABytes = index_t{1} << 20;
constexpr index_t kPackAColumns = 128;  // columns of C from which on packing A pays
constexpr index_t kPackedRows = 48;
constexpr index_t kPackAK = 32;

// Where a tile cannot keep its sums (C that holds something to be added to, in several passes over
// k; C by columns under a stream) a part of C of this many bytes is computed on the stack.
constexpr index_t kAsideBytes = index_t{16} << 10;

// Packed B where there is no memory for more: one panel, on the stack.
constexpr index_t kLeanBytes = index_t{16} << 10;

// A second thread pays from this much work on (2 operations a multiply-add): some 5 us of one core
// against a fork and join of about 1 us.
constexpr double kFlopsPerThread = 5e5;

}  // namespace nnext
