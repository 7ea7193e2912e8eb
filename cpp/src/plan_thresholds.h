// The thresholds of the matrix product's plan, and how each was found. Figures are float32 GFLOP/s
// of one core of an EPYC, for y = x W (nn), dout W^T (nt) or x^T dout (tn): where nothing is said a
// Zen 4 (32 KiB L1, 1 MiB L2, 32 MiB L3; peak 117), "Zen 5" one with 48 KiB L1 (peak 258).
#pragma once

#include "nnext/sum.h"
#include "nnext/types.h"

namespace nnext {

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

// Nor may A lie on more pages than the CPU keeps addresses of next to its first level, 64 on a
// Cascade Lake: packed over in place, x^T dout of 128 x 784 x 512, 98 pages, 1.14, of 100 x 784 x
// 256, 76 pages, 1.07, of 64 x 784 x 512, 49 pages, 1.02. On a Zen 4, in the same order: 1.00, 0.98
// and 1.00; held to AVX2 1.00, 0.99 and 1.00, in float64 1.07, 1.13 and 1.02.
constexpr index_t kPagesInPlace = 64;

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

}  // namespace nnext
