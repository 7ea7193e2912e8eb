// The sizes that cut the loops of the matrix product: which loop each cuts, which cache it must
// fit. All figures are float32 GFLOP/s of one core of an EPYC (Zen 5, 48 KiB L1, 1 MiB L2, 32 MiB
// L3; FMA peak 258 in the same runs), for y = x W (nn), dout W^T (nt) or x^T dout (tn).
//
// Loops are numbered from the outermost, as in the papers on BLIS (Van Zee, van de Geijn 2015):
//   5  jc  columns of C by kNC   a packed block of B, kKC x kNC, in the shared cache
//   4  pc  k by kKC              its panels of a tile's width, kKC x NR, in the second-level cache
//   3  ic  rows of C by kMC      rows of A, kMC x kKC, stay near while all panels pass
//   2  jr  panels of the block   one panel is read by all tiles of the kMC rows
//   1  ir  tiles of the panel    a register tile, MR x NR
// (0, the loop over p inside the tile, is the kernel's.)
#pragma once

#include "nnext/types.h"

namespace nnext {

// Long blocks of k: C is read and written once a block. 1024^3 nn: 2048 gives 243, 1024 241, 512
// 220. A panel of 2048 x 64 floats is half of L2; shorter panels that fit L1 lost (K = 64: 217).
constexpr index_t kKC = 2048;

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

// With so few rows of C, and more bytes of B than this, B comes from memory once and sets the pace.
// It is then read in long runs, kStreamKC rows at a time, and fetched ahead: at (8, 4096, 4096) nn
// 72 against 48; kStreamKC = 8 to 32 are level.
constexpr index_t kStreamRows = 8;
constexpr index_t kStreamBytes = index_t{1} << 20;
constexpr index_t kStreamKC = 16;

// With so few rows of C, a B with contiguous columns is transposed in registers instead of packed:
// at (1, 1024, 1024) nt 31 against 19. From 5 rows on packing is level.
constexpr index_t kColumnTileRows = 4;

// A product this short in k is bound by writing C: all panels of one row of tiles first, so that C
// is written in long runs. (1, 1024, 1024) tn: 36 against 16; at k = 8 it is level, with 16 slower.
constexpr index_t kRowsFirstK = 4;

// A with contiguous columns (tn) is packed when its k rows span more than this: each would touch a
// page of its own for every tile. 2048^3 tn: 227 against 180. Groups of 12 rows, the height of two
// tiles, so that a row of k is copied in longer pieces (6: 205); kPackAK rows of k at a time, whose
// pages all groups use while they are at hand (128: 217).
constexpr index_t kUnpackedABytes = index_t{1} << 20;
constexpr index_t kPackAColumns = 128;  // columns of C from which on packing A pays
constexpr index_t kPackedRows = 12;
constexpr index_t kPackAK = 32;

// A second thread pays from this much work on (2 operations a multiply-add): some 5 us of one core
// against a fork and join of about 1 us.
constexpr double kFlopsPerThread = 5e5;

}  // namespace nnext
