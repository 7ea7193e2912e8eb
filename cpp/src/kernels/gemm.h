// The register tile of the matrix product, and the packing of its right operand.
//
// A tile of MR rows and NV vectors keeps MR * NV sums in registers. Each step of k loads NV vectors
// of B and broadcasts MR scalars of A; A is read where it lies, whatever its strides.
#pragma once

#include "kernels/transpose.h"

namespace nnext {
namespace NNEXT_SIMD {
namespace {

// The widest tile for many rows, and the tallest of each width. The sums, NV vectors of B and one
// broadcast of A must fit the vector registers (32 with AVX-512 and NEON, 16 else), and there
// should be as many sums as the CPU has multiply-adds under way (latency 4 times 2 a cycle = 8):
// few rows want wider tiles than many have room for.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kTileVectors = 4;
constexpr int kTileRows[kMaxTileVectors + 1] = {0, 14, 12, 8, 6};
#else
constexpr int kTileVectors = 2;
constexpr int kTileRows[kMaxTileVectors + 1] = {0, 12, 6, 4, 2};
#endif

// Where B is read in place, each of its rows is a piece of 64 to 256 bytes somewhere else, which no
// hardware prefetcher follows: so the widest tiles fetch them. Those of their own panel so many
// rows ahead, or the first of them the next panel's. 256^3 nn on a Zen 5 264 with the own rows
// against 253 with the next panel's, which 48 x 768 x 128256, from memory, wants: 179 against 145
// (8 ahead: 173). On a Sapphire Rapids 32 x 784 x 256 nn 132 without, 144 with 4 to 8 rows ahead.
constexpr int kFetchedAhead = 4;

// What the last vector of a tile holds: a column in every lane, in so many of them, or in half of
// them at most. On a Zen 4 core (10000, 10, 10) in float64, 8 + 2 columns: 36 GFLOP/s with a half,
// 27 without; (63, 65, 67) in float32: 101 and 88.
enum class Ending { kWhole, kPart, kHalf };

// Whether a whole last vector may be taken as a part of all lanes, by tiles that know no stride:
// 0.97 to 1.03 of the speed on a Zen 4, and 0.1 MB of code less.
#if defined(__AVX512F__)
constexpr bool kMaskedWhole = true;
#else
constexpr bool kMaskedWhole = false;
#endif

// How A is read: rows or columns contiguous, or neither.
enum class Walk { kAny, kRows, kColumns };

// One tile. `ahead` is what the widest tile prefetches on its way, as many vectors of each row as
// it reads.
template <class T, int MR, int NV, Ending kEnding, Walk kA, bool kPackedB>
NNEXT_INLINE void one_tile(const Tile<T>& t, const T* a, const T* b, T* c, const T* bias,
                           const T* row_bias, const T* ahead) {
  constexpr int kVector = Simd<T>::lanes;
  constexpr bool kHalf = kEnding == Ending::kHalf;
  constexpr int kVectors = kHalf ? NV - 1 : NV;  // whole ones
  constexpr int kEnd = (NV - 1) * kVector;       // where the last vector or half begins
  const index_t last = t.cols - kEnd;
  const auto is_part = [](int j) { return kEnding == Ending::kPart && j == NV - 1; };
  const auto load_vector = [&](const T* row, int j) NNEXT_LAMBDA {
    return is_part(j) ? load_partial<T>(row + j * kVector, last, T{0}) : load<T>(row + j * kVector);
  };
  const bool goes_on = t.into == SumInto::kContinue;
  Vec<T> acc[MR][NV];
  HalfVec<T> half[MR];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
    const T* const from = c + i * t.c_row_stride;
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      acc[i][j] = goes_on ? load_vector(from, j) : Vec<T>{};
    }
    if constexpr (kHalf) half[i] = goes_on ? load_half<T>(from + kEnd, last) : HalfVec<T>{};
  }
  // Strides that the compiler knows leave few integer instructions in the loop, which compete with
  // the multiply-adds on Intel; rows of A that it does not know are reached from two of them.
  const index_t a_rows = kA == Walk::kColumns ? 1 : t.a_row_stride;
  const index_t a_cols = kA == Walk::kRows ? 1 : t.a_col_stride;
  const index_t b_rows = kPackedB ? NV * kVector : t.b_row_stride;
  const T* lower = a + MR / 2 * a_rows;
  const auto step = [&](index_t p) NNEXT_LAMBDA {
    const auto element = [&](int i) NNEXT_LAMBDA {
      return i < MR / 2 ? a[i * a_rows + p * a_cols] : lower[(i - MR / 2) * a_rows + p * a_cols];
    };
    const T* const b_row = b + p * b_rows;
    Vec<T> row[NV];
    HalfVec<T> half_row{};
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      row[j] = kLoadsParts ? load_vector(b_row, j) : load<T>(b_row + j * kVector);
    }
    if constexpr (kHalf) half_row = load_half<T>(b_row + kEnd, last);
    if constexpr (NV == kTileVectors && !kPackedB) {
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) __builtin_prefetch(ahead + p * b_rows + j * kVector);
    }
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
      if constexpr (kVectors == 0) {
        half[i] = fma(broadcast_half(element(i)), half_row, half[i]);
        continue;
      }
      const Vec<T> value = broadcast<T>(element(i));
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) acc[i][j] = fma(value, row[j], acc[i][j]);
      if constexpr (kHalf) half[i] = fma(lower_half<T>(value), half_row, half[i]);
    }
  };
  const auto advance = [&](index_t steps) NNEXT_LAMBDA {
    a += steps * a_cols;
    lower += steps * a_cols;
    b += steps * b_rows;
    if constexpr (NV == kTileVectors && !kPackedB) ahead += steps * b_rows;
  };
  index_t p = t.k;
  // Two steps an iteration on a Sapphire Rapids: tile alone 167 to 187; level on a Zen 5, where
  // with B in place they lost 6 % (AVX2).
  if constexpr (kPackedB) {
    for (; p >= 2; p -= 2) {
      step(0);
      step(1);
      advance(2);
    }
  }
  for (; p > 0; --p) {
    step(0);
    advance(1);
  }
  if (t.into == SumInto::kAdd) {
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
      const T* const to = c + i * t.c_row_stride;
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) acc[i][j] = load_vector(to, j) + acc[i][j];
      if constexpr (kHalf) half[i] = load_half<T>(to + kEnd, last) + half[i];
    }
  }
  if (row_bias != nullptr) {
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
      const Vec<T> value = broadcast<T>(row_bias[i]);
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) acc[i][j] += value;
      if constexpr (kHalf) half[i] += lower_half<T>(value);
    }
  }
  if (bias != nullptr) {
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      const Vec<T> value = load_vector(bias, j);
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i) acc[i][j] += value;
    }
    if constexpr (kHalf) {
      const HalfVec<T> value = load_half<T>(bias + kEnd, last);
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i) half[i] += value;
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
    T* const to = c + i * t.c_row_stride;
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      if (is_part(j)) {
        store_partial<T>(to + j * kVector, acc[i][j], last);
      } else {
        store<T>(to + j * kVector, acc[i][j]);
      }
    }
    if constexpr (kHalf) store_half<T>(to + kEnd, half[i], last);
  }
}

// t.count tiles, one after another.
template <class T, int MR, int NV, Ending kEnding, Walk kA = Walk::kAny, bool kPackedB = false>
NNEXT_INLINE void tiles(const Tile<T>& t) {
  const T* a = t.a;
  const T* b = t.b;
  T* c = t.c;
  const T* bias = t.bias;
  const T* row_bias = t.row_bias;
  for (index_t n = 0; n < t.count; ++n) {
    const T* ahead = b + kFetchedAhead * t.b_row_stride;
    if (t.next_b != nullptr) ahead = n == 0 ? t.next_b : b;
    if (t.fetches_c && n + 1 < t.count) {
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
        for (int j = 0; j < NV; ++j) {
          __builtin_prefetch(c + t.c_step + i * t.c_row_stride + j * Simd<T>::lanes, 1);
        }
      }
    }
    one_tile<T, MR, NV, kEnding, kA, kPackedB>(t, a, b, c, bias, row_bias, ahead);
    a += t.a_step;
    b += t.b_step;
    c += t.c_step;
    if (bias != nullptr) bias += t.bias_step;
    if (row_bias != nullptr) row_bias += t.row_bias_step;
  }
}

// Whole tiles of the width for many rows, with the strides that most products have known.
template <class T, int MR, Walk kA>
NNEXT_INLINE void whole_tiles(const Tile<T>& t) {
  if (t.b_row_stride == kTileVectors * Simd<T>::lanes) {  // as packed panels have it
    tiles<T, MR, kTileVectors, Ending::kWhole, kA, /*kPackedB=*/true>(t);
  } else {
    tiles<T, MR, kTileVectors, Ending::kWhole, kA>(t);
  }
}

// Without fma, which hides most of what taller tiles save, the tallest are two of half their rows,
// for the wheel's sake: on a Zen 4 held to this set float32 is level, float64 at 0.85 to 1.0.
template <class T, int MR, int NV>
void tile(const Tile<T>& t) {
  if constexpr (!kHasFma && MR > 1 && MR > kTileRows[NV] / 2) {
    constexpr int kUpper = MR / 2;
    tile<T, kUpper, NV>(t);
    Tile<T> lower = t;
    lower.a += kUpper * t.a_row_stride;
    lower.c += kUpper * t.c_row_stride;
    if (t.row_bias != nullptr) lower.row_bias += kUpper;
    return tile<T, MR - kUpper, NV>(lower);
  }
  const index_t last = t.cols - (NV - 1) * Simd<T>::lanes;
  if (kHasHalves && last <= Simd<T>::lanes / 2) {
    return tiles<T, MR, NV, kHasHalves ? Ending::kHalf : Ending::kPart>(t);
  }
  if constexpr (NV == kTileVectors) {
    if (last == Simd<T>::lanes && t.a_row_stride == 1) {
      return whole_tiles<T, MR, Walk::kColumns>(t);
    }
    if (last == Simd<T>::lanes && t.a_col_stride == 1) return whole_tiles<T, MR, Walk::kRows>(t);
  }
  if (kMaskedWhole || last != Simd<T>::lanes) return tiles<T, MR, NV, Ending::kPart>(t);
  tiles<T, MR, NV, kMaskedWhole ? Ending::kPart : Ending::kWhole>(t);
}

// acc += A[MR x depth] * (square of B)[depth x cols] for one square of at most a vector's width.
// With Full both sizes are the vector's width and the loops have no conditions left in them.
template <class T, int MR, bool Full>
NNEXT_INLINE void add_square(const T* a, index_t a_row_stride, index_t a_col_stride, const T* b,
                             index_t b_stride, index_t depth, index_t cols, Vec<T>* acc) {
  constexpr int kVector = Simd<T>::lanes;
  Vec<T> square[kVector];
#pragma GCC unroll 16
  for (int j = 0; j < kVector; ++j, b += b_stride) {
    square[j] = Full ? load<T>(b) : j < cols ? load_partial<T>(b, depth, T{0}) : Vec<T>{};
  }
  transpose_block<T>(square);
#pragma GCC unroll 16
  for (int q = 0; q < kVector; ++q, a += a_col_stride) {
    if (!Full && q >= depth) break;
#pragma GCC unroll 8
    for (int i = 0; i < MR; ++i) {
      acc[i] = fma(broadcast<T>(a[i * a_row_stride]), square[q], acc[i]);
    }
  }
}

// A few rows of C from a B whose columns are contiguous: element (p, j) at b[p + j * b_row_stride].
// Squares of B are transposed in registers and used at once; packing them first would write and
// read B once more, which shows when B is used for a few rows only. Squares begin where B's cache
// lines do: columns a multiple of 4 KiB apart share one set of the first-level cache, and would
// lose a line that two squares share before the second (9 against 20 GFLOP/s at 1 x 1024 x 1024).
// For the same reason vectors made of 16-byte pieces, which spare half of the shuffles, lost: 11.
template <class T, int MR>
NNEXT_INLINE void rows_of_column_tile(const Tile<T>& t) {
  constexpr int kVector = Simd<T>::lanes;
  const T* b = t.b;
  T* c = t.c;
  const T* bias = t.bias;
  for (index_t left = t.cols; left > 0; left -= kVector) {
    const index_t cols = left < kVector ? left : kVector;
    Vec<T> acc[MR];
#pragma GCC unroll 8
    for (int i = 0; i < MR; ++i) {
      acc[i] = t.into == SumInto::kContinue ? load_partial<T>(c + i * t.c_row_stride, cols, T{0})
                                            : Vec<T>{};
    }
    const T* a = t.a;
    const T* square = b;
    const index_t into_line =
        static_cast<index_t>(reinterpret_cast<std::uintptr_t>(b) % kVectorBytes / sizeof(T));
    index_t line = kVector - (into_line + t.k > kVector ? into_line : 0);  // the rest of the first
    for (index_t k = t.k; k > 0; line = kVector) {
      const index_t depth = k < line ? k : line;
      if (cols == kVector && depth == kVector) {
        add_square<T, MR, true>(a, t.a_row_stride, t.a_col_stride, square, t.b_row_stride, kVector,
                                kVector, acc);
      } else {
        add_square<T, MR, false>(a, t.a_row_stride, t.a_col_stride, square, t.b_row_stride, depth,
                                 cols, acc);
      }
      a += depth * t.a_col_stride;
      square += depth;
      k -= depth;
    }
#pragma GCC unroll 8
    for (int i = 0; i < MR; ++i) {
      T* const to = c + i * t.c_row_stride;
      if (t.into == SumInto::kAdd) acc[i] = load_partial<T>(to, cols, T{0}) + acc[i];
      if (t.row_bias != nullptr) acc[i] += broadcast<T>(t.row_bias[i]);
      if (bias != nullptr) acc[i] += load_partial<T>(bias, cols, T{0});
      store_partial<T>(to, acc[i], cols);
    }
    b += kVector * t.b_row_stride;
    c += kVector;
    if (bias != nullptr) bias += kVector;
  }
}

template <class T, int MR>
void column_tile(const Tile<T>& t) {
  if constexpr (kHasFma) return rows_of_column_tile<T, MR>(t);
  // Else for the wheel's sake row by row: on a Zen 4 held to this set float32 is level, float64 at
  // 0.85 to 1.0; 1 x 1024 x 1024 in float64 at 0.6, for which no reason was found.
  Tile<T> row = t;
  for (int i = 0; i < MR; ++i) {
    rows_of_column_tile<T, 1>(row);
    row.a += t.a_row_stride;
    row.c += t.c_row_stride;
    if (t.row_bias != nullptr) ++row.row_bias;
  }
}

template <class T, int MR>
struct FillColumnTiles {  // coverage off: when it is compiled
  static constexpr void into(Kernels<T>& k) {
    k.column_tile[MR] = &column_tile<T, MR>;
    FillColumnTiles<T, MR - 1>::into(k);
  }
};  // coverage on
template <class T>
struct FillColumnTiles<T, 0> {
  static constexpr void into(Kernels<T>&) {}  // coverage off: when it is compiled
};  // coverage on

// Fills tile[NV][1 .. MR].
template <class T, int NV, int MR>
struct FillTiles {  // coverage off: when it is compiled
  static constexpr void into(Kernels<T>& k) {
    k.tile[NV][MR] = &tile<T, MR, NV>;
    FillTiles<T, NV, MR - 1>::into(k);
  }
};  // coverage on
template <class T, int NV>
struct FillTiles<T, NV, 0> {
  static constexpr void into(Kernels<T>&) {}  // coverage off: when it is compiled
};  // coverage on

// A row of `cols` elements, and zeros up to `width`.
template <class T>
NNEXT_INLINE void copy_row(const T* from, index_t cols, T* to, index_t width) {
  constexpr int kVector = Simd<T>::lanes;
  index_t j = 0;
  for (; j + kVector <= cols; j += kVector) store<T>(to + j, load<T>(from + j));
  for (; j < width; j += kVector) {
    const index_t left = cols - j < 0 ? 0 : cols - j;
    const Vec<T> v = load_partial<T>(from + j, left, T{0});
    const index_t room = width - j < kVector ? width - j : kVector;
    if (room == kVector) {
      store<T>(to + j, v);
    } else {
      store_partial<T>(to + j, v, room);
    }
  }
}

// Packs k rows of up to out_stride columns; see table.h. Rows may lie a page apart, so that no
// hardware prefetcher follows: each fetches a later one into the second-level cache (the first has
// but eight places for lines a page apart). 1024^3 on a Zen 4 core: nn 112 against 107, tn 108
// against 98.
template <class T>
void pack(const T* b, index_t row_stride, index_t col_stride, index_t k, int cols, T* out,
          index_t out_stride) {
  constexpr int kVector = Simd<T>::lanes;
  if (col_stride == 1) {
    for (index_t p = 0; p < k; ++p, b += row_stride, out += out_stride) {
      for (index_t j = 0; j < cols; j += 64 / sizeof(T)) {
        __builtin_prefetch(b + kRowsAhead * row_stride + j, 0, 2);
      }
      copy_row<T>(b, cols, out, out_stride);
    }
    return;
  }
  for (index_t j = 0; j < out_stride; j += kVector) {
    const index_t width = out_stride - j < kVector ? out_stride - j : kVector;
    const index_t columns = cols - j < kVector ? cols - j : kVector;
    const index_t left = columns > 0 ? columns : 0;
    const T* from = b + j * col_stride;
    if (row_stride == 1 && width == kVector) {
      transpose_rows<T, /*Pad=*/true>(from, col_stride, left, k, out + j, out_stride);
      continue;
    }
    for (index_t p = 0; p < k; ++p, from += row_stride) {
      T* to = out + p * out_stride + j;
      for (int i = 0; i < width; ++i) to[i] = i < left ? from[i * col_stride] : T{0};
    }
  }
}

}  // namespace
}  // namespace NNEXT_SIMD
}  // namespace nnext
