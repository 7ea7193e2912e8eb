// Sums. A sum along contiguous elements is taken in float64 over 16 virtual lanes joined in a fixed
// tree; a sum over rows is one chain a column, in order, so that sums of consecutive blocks of rows
// can be gathered.
#pragma once

#include "kernels/simd.h"

namespace nnext {
namespace NNEXT_SIMD {
namespace {

template <class T>
void row_sums_array(const T* x, T* sums, index_t rows, index_t cols) {
  for (index_t r = 0; r < rows; ++r, x += cols) {
    Lanes<double> sum{};
    for (index_t i = 0; i < cols; i += kLanes) add_lanes(sum, load_lanes<T>(x + i, cols - i, T{0}));
    sums[r] = static_cast<T>(sum_lanes(sum));
  }
}

template <class T, int NV>
NNEXT_INLINE void sum_columns(const T* x, index_t row_stride, T* sums, index_t rows, index_t last) {
  constexpr int kVector = Simd<T>::lanes;
  Vec<T> sum[NV]{};
  for (index_t r = 0; r < rows; ++r, x += row_stride) {
#pragma GCC unroll 4
    for (int j = 0; j < NV; ++j) {
      sum[j] += last == kVector || j < NV - 1 ? load<T>(x + j * kVector)
                                              : load_partial<T>(x + j * kVector, last, T{0});
    }
  }
#pragma GCC unroll 4
  for (int j = 0; j < NV; ++j) {
    store_partial<T>(sums + j * kVector, sum[j], j < NV - 1 ? kVector : last);
  }
}

template <class T>
void column_sums_array(const T* x, index_t row_stride, T* sums, index_t rows, index_t cols) {
  constexpr int kVector = Simd<T>::lanes;
  constexpr int kWide = 4;  // vectors a pass: enough chains to hide the latency of an addition
  index_t j = 0;
  for (; j + kWide * kVector <= cols; j += kWide * kVector) {
    sum_columns<T, kWide>(x + j, row_stride, sums + j, rows, kVector);
  }
  for (; j < cols; j += kVector) {
    const index_t left = cols - j < kVector ? cols - j : kVector;
    sum_columns<T, 1>(x + j, row_stride, sums + j, rows, left);
  }
}

template <class T>
double sum_of_squares_array(const T* x, index_t n) {
  Lanes<double> sum{};
  for (index_t i = 0; i < n; i += kLanes) {
    // Converted before squaring: the square of a float is exact in float64 and cannot overflow.
    Lanes<double> v{};
    add_lanes(v, load_lanes<T>(x + i, n - i, T{0}));
    for (int j = 0; j < kParts<double>; ++j) {
      sum.part[j] = fma(v.part[j], v.part[j], sum.part[j]);
    }
  }
  return sum_lanes(sum);
}

}  // namespace
}  // namespace NNEXT_SIMD
}  // namespace nnext
