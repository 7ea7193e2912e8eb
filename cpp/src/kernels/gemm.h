// The register tile of the matrix product, and the packing of its right operand.
//
// A tile of MR rows and NV vectors keeps MR * NV sums in registers. Each step of k loads NV vectors
// of B and broadcasts MR scalars of A; A is read where it lies, whatever its strides.
#pragma once

#include "kernels/simd.h"

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

template <class T, int MR, int NV>
void tile(const Tile<T>& t) {
  constexpr int kVector = Simd<T>::lanes;
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
    for (int j = 0; j < NV; ++j) row[j] = load<T>(b + j * kVector);
#pragma GCC unroll 16
    for (int i = 0; i < MR; ++i) {
      const Vec<T> value = broadcast<T>(a[i * t.a_row_stride]);
#pragma GCC unroll 4
      for (int j = 0; j < NV; ++j) acc[i][j] = fma(value, row[j], acc[i][j]);
    }
    a += t.a_col_stride;
    b += t.b_row_stride;
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

// Fills tile[NV][1 .. MR].
template <class T, int NV, int MR>
struct FillTiles {
  static constexpr void into(Kernels<T>& k) {
    k.tile[NV][MR] = &tile<T, MR, NV>;
    FillTiles<T, NV, MR - 1>::into(k);
  }
};
template <class T, int NV>
struct FillTiles<T, NV, 0> {
  static constexpr void into(Kernels<T>&) {}
};

// Transposes a square of vectors in registers: step s swaps the lanes whose index has bit s between
// the rows whose index has it not and those whose index has it.
template <class T, int S>
NNEXT_INLINE void transpose_step(Vec<T>* rows) {
  constexpr int kVector = Simd<T>::lanes;
  IntVec<T> low{};
  IntVec<T> high{};
#pragma GCC unroll 16
  for (int j = 0; j < kVector; ++j) {
    low[j] = (j & S) != 0 ? kVector + j - S : j;
    high[j] = (j & S) != 0 ? kVector + j : j + S;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kVector; ++i) {
    if ((i & S) != 0) continue;
    const Vec<T> first = rows[i];
    const Vec<T> second = rows[i + S];
#if defined(__clang__)
    // Clang has no two-operand shuffle with a vector of indices; this loop becomes one.
    for (int j = 0; j < kVector; ++j) {
      rows[i][j] = low[j] < kVector ? first[low[j]] : second[low[j] - kVector];
      rows[i + S][j] = high[j] < kVector ? first[high[j]] : second[high[j] - kVector];
    }
#else
    rows[i] = __builtin_shuffle(first, second, low);
    rows[i + S] = __builtin_shuffle(first, second, high);
#endif
  }
}

template <class T, int S>
struct TransposeSteps {
  static NNEXT_INLINE void run(Vec<T>* rows) {
    transpose_step<T, S>(rows);
    TransposeSteps<T, S / 2>::run(rows);
  }
};
template <class T>
struct TransposeSteps<T, 0> {
  static NNEXT_INLINE void run(Vec<T>*) {}
};

// Packs kVector columns of B that are contiguous along k: out[p][j] = b[j * col_stride + p].
template <class T>
NNEXT_INLINE void pack_transposed(const T* b, index_t col_stride, index_t k, index_t cols, T* out,
                                  index_t out_stride) {
  constexpr int kVector = Simd<T>::lanes;
  index_t p = 0;
  for (; p + kVector <= k; p += kVector) {
    Vec<T> rows[kVector];
#pragma GCC unroll 16
    for (int j = 0; j < kVector; ++j) {
      rows[j] = j < cols ? load<T>(b + j * col_stride + p) : Vec<T>{};
    }
    TransposeSteps<T, kVector / 2>::run(rows);
#pragma GCC unroll 16
    for (int i = 0; i < kVector; ++i) store<T>(out + (p + i) * out_stride, rows[i]);
  }
  for (; p < k; ++p) {
    for (int j = 0; j < kVector; ++j) {
      out[p * out_stride + j] = j < cols ? b[j * col_stride + p] : T{0};
    }
  }
}

template <class T>
void pack(const T* b, index_t row_stride, index_t col_stride, index_t k, int cols, T* out,
          index_t out_stride) {
  constexpr int kVector = Simd<T>::lanes;
  for (index_t j = 0; j < out_stride; j += kVector) {
    const index_t left = cols - j < kVector ? cols - j : kVector;
    const T* from = b + j * col_stride;
    if (row_stride == 1 && col_stride != 1) {
      pack_transposed<T>(from, col_stride, k, left, out + j, out_stride);
      continue;
    }
    for (index_t p = 0; p < k; ++p, from += row_stride) {
      T* to = out + p * out_stride + j;
      if (col_stride == 1) {
        store<T>(to, left == kVector ? load<T>(from) : load_partial<T>(from, left, T{0}));
      } else {
        for (int i = 0; i < kVector; ++i) to[i] = i < left ? from[i * col_stride] : T{0};
      }
    }
  }
}

}  // namespace
}  // namespace NNEXT_SIMD
}  // namespace nnext
