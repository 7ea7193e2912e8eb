// The sizes that cut the loops of the matrix product: which loop each cuts, which cache it must
// fit.
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

constexpr index_t kKC = 1024;
constexpr index_t kMC = 96;
constexpr index_t kNC = 1024;

// B is read where it lies, not packed, for at most so many rows of C: packing is one load and one
// store a vector, and below this each packed vector is read too few times to pay for that.
constexpr index_t kUnpackedRows = 48;

// A second thread pays from this much work on (2 operations a multiply-add): some 5 us of one core
// against a fork and join of about 1 us.
constexpr double kFlopsPerThread = 5e5;

}  // namespace nnext
