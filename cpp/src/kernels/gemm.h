// The register tile of the matrix product, and the packing of its right operand.
//
// A tile of MR rows and NV vectors keeps MR * NV sums in registers. Each step of k loads NV vectors
// of B and broadcasts MR scalars of A; A is read where it lies, whatever its strides.
#pragma once

#include "kernels/transpose.h"

namespace nnext {
namespace NNEXT_SIMD {
namespace {

// Tallest tile of each width. The sums, NV vectors of B and one broadcast of A must fit the vector
// registers (32 with AVX-512 and NEON, 16 else), and there must be at least as many sums as the CPU
// has multiply-adds under way (latency 4 times 2 a cycle = 8).
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kTileVectors = 4;
constexpr int kTileRows[kMaxTileVectors + 1] = {0, 14, 12, 8, 6};
#else
constexpr int kTileVectors = 2;
constexpr int kTileRows[kMaxTileVectors + 1] = {0, 12, 6, 0, 0};
#endif

// How far ahead of B's row a streaming tile fetches: two panels of 256 bytes. Measured at
// (8, 4096, 4096): none 48, 64 floats 55, 128 floats 72, 256 floats 68, 512 floats 56 GFLOP/s.
constexpr index_t kPrefetchBytes = 512;

template <class T, int MR, int NV, bool Prefetch>
void tile(const Tile<T>& t) {
  constexpr int kVector = Simd<T>::lanes;
  constexpr index_t kAhead = kPrefetchBytes / index_t{sizeof(T)};
  const index_t last = t.cols - (NV - 1) * kVector;
  Vec<T> acc[MR][NV];
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) acc[i][j] = Vec<T>{};
  }
  if (t.accumulate) {
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
      const T* c = t.c + i * t.c_row_stride;
#pragma GCC unroll 4
      for (int j = 0; j < NV - 1; ++j) acc[i][j] = load<T>(c + j * kVector);
      acc[i][NV - 1] = last == kVector ? load<T>(c + (NV - 1) * kVector)
                                       : load_partial<T>(c + (NV - 1) * kVector, last, T{0});
    }
  }
  const T* a = t.a;
  const T* b = t.b;
  for (index_t p = 0; p < t.k; ++p) {
    Vec<T> row[NV];
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) {
      row[j] = load<T>(b + j * kVector);
      if constexpr (Prefetch) __builtin_prefetch(b + kAhead + j * kVector);
    }
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
      const Vec<T> value = broadcast<T>(a[i * t.a_row_stride]);
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) acc[i][j] = fma(value, row[j], acc[i][j]);
    }
    a += t.a_col_stride;
    b += t.b_row_stride;
  }
  if (t.row_bias != nullptr) {
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
      const Vec<T> bias = broadcast<T>(t.row_bias[i]);
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) acc[i][j] += bias;
    }
  }
  if (t.bias != nullptr) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) {
      const T* p = t.bias + j * kVector;
      const Vec<T> bias =
          j < NV - 1 || last == kVector ? load<T>(p) : load_partial<T>(p, last, T{0});
#pragma GCC unroll 16
      for (int i = 0; i < MR; ++i) acc[i][j] += bias;
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < MR; ++i) {
    T* c = t.c + i * t.c_row_stride;
#pragma GCC unroll 4
    for (int j = 0; j < NV - 1; ++j) store<T>(c + j * kVector, acc[i][j]);
    if (last == kVector) {
      store<T>(c + (NV - 1) * kVector, acc[i][NV - 1]);
    } else {
      store_partial<T>(c + (NV - 1) * kVector, acc[i][NV - 1], last);
    }
  }
}

// A few rows of C from a B whose columns are contiguous: element (p, j) at b[p + j * b_row_stride],
// j < cols <= 2 * lanes. Squares of B are transposed in registers and used at once; packing them
// first would write and read B once more, which shows when B is used for a few rows only. Two
// squares side by side keep the multiply-adds of a single row from waiting for each other.
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

template <class T, int MR>
void column_tile(const Tile<T>& t) {
  constexpr int kVector = Simd<T>::lanes;
  constexpr int kSquares = 2;
  Vec<T> acc[kSquares][MR];
#pragma GCC unroll 2
  for (int s = 0; s < kSquares; ++s) {
    const index_t left = t.cols - s * kVector < kVector ? t.cols - s * kVector : kVector;
#pragma GCC unroll 8
    for (int i = 0; i < MR; ++i) {
      const T* c = t.c + i * t.c_row_stride + s * kVector;
      acc[s][i] = t.accumulate && left > 0 ? load_partial<T>(c, left, T{0}) : Vec<T>{};
    }
  }
  const index_t second = kVector * t.b_row_stride;
  const T* a = t.a;
  const T* b = t.b;
  index_t p = 0;
  if (t.cols == kSquares * kVector) {
    for (; p + kVector <= t.k; p += kVector, a += kVector * t.a_col_stride, b += kVector) {
      add_square<T, MR, true>(a, t.a_row_stride, t.a_col_stride, b, t.b_row_stride, kVector,
                              kVector, acc[0]);
      add_square<T, MR, true>(a, t.a_row_stride, t.a_col_stride, b + second, t.b_row_stride,
                              kVector, kVector, acc[1]);
    }
  }
  for (; p < t.k; p += kVector, a += kVector * t.a_col_stride, b += kVector) {
    const index_t depth = t.k - p < kVector ? t.k - p : kVector;
    add_square<T, MR, false>(a, t.a_row_stride, t.a_col_stride, b, t.b_row_stride, depth, t.cols,
                             acc[0]);
    if (t.cols > kVector) {
      add_square<T, MR, false>(a, t.a_row_stride, t.a_col_stride, b + second, t.b_row_stride, depth,
                               t.cols - kVector, acc[1]);
    }
  }
#pragma GCC unroll 2
  for (int s = 0; s < kSquares; ++s) {
    const index_t left = t.cols - s * kVector < kVector ? t.cols - s * kVector : kVector;
    if (left <= 0) continue;
#pragma GCC unroll 8
    for (int i = 0; i < MR; ++i) {
      if (t.row_bias != nullptr) acc[s][i] += broadcast<T>(t.row_bias[i]);
      if (t.bias != nullptr) acc[s][i] += load_partial<T>(t.bias + s * kVector, left, T{0});
      store_partial<T>(t.c + i * t.c_row_stride + s * kVector, acc[s][i], left);
    }
  }
}

template <class T, int MR>
struct FillColumnTiles {
  static constexpr void into(Kernels<T>& k) {
    k.column_tile[MR] = &column_tile<T, MR>;
    FillColumnTiles<T, MR - 1>::into(k);
  }
};
template <class T>
struct FillColumnTiles<T, 0> {
  static constexpr void into(Kernels<T>&) {}
};

// Fills tile[NV][1 .. MR], and for the widest tile stream_tile[1 .. MR].
template <class T, int NV, int MR>
struct FillTiles {
  static constexpr void into(Kernels<T>& k) {
    k.tile[NV][MR] = &tile<T, MR, NV, false>;
    if constexpr (NV == kTileVectors) k.stream_tile[MR] = &tile<T, MR, NV, true>;
    FillTiles<T, NV, MR - 1>::into(k);
  }
};
template <class T, int NV>
struct FillTiles<T, NV, 0> {
  static constexpr void into(Kernels<T>&) {}
};

// Packs k rows of up to out_stride columns; see table.h.
template <class T>
void pack(const T* b, index_t row_stride, index_t col_stride, index_t k, int cols, T* out,
          index_t out_stride) {
  constexpr int kVector = Simd<T>::lanes;
  for (index_t j = 0; j < out_stride; j += kVector) {
    const index_t width = out_stride - j < kVector ? out_stride - j : kVector;
    const index_t columns = cols - j < kVector ? cols - j : kVector;
    const index_t left = columns > 0 ? columns : 0;
    const T* from = b + j * col_stride;
    if (row_stride == 1 && col_stride != 1 && width == kVector) {
      transpose_rows<T, /*Pad=*/true>(from, col_stride, left, k, out + j, out_stride);
      continue;
    }
    for (index_t p = 0; p < k; ++p, from += row_stride) {
      T* to = out + p * out_stride + j;
      if (col_stride == 1) {
        const Vec<T> v = left == kVector ? load<T>(from) : load_partial<T>(from, left, T{0});
        if (width == kVector) {
          store<T>(to, v);
        } else {
          store_partial<T>(to, v, width);
        }
      } else {
        for (int i = 0; i < width; ++i) to[i] = i < left ? from[i * col_stride] : T{0};
      }
    }
  }
}

}  // namespace
}  // namespace NNEXT_SIMD
}  // namespace nnext
