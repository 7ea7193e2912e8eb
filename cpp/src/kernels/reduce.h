// Sums. A sum along contiguous elements is taken in float64 over 16 virtual lanes joined in a fixed
// tree; a sum over rows is one chain a column, in order, so that sums of consecutive blocks of rows
// can be gathered.
#pragma once

#include "kernels/lanes.h"
#include "kernels/small.h"

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

// sums[0 .. n) of kRows rows, n <= a vector's width; from +0 unless `accumulate`.
template <class T, int Rows>
NNEXT_INLINE void add_rows(const T* x, index_t row_stride, T* sums, index_t n, bool accumulate) {
  const bool whole = n == Simd<T>::lanes;
  Vec<T> sum{};
  if (accumulate) sum = whole ? load<T>(sums) : load_partial<T>(sums, n, T{0});
#pragma GCC unroll 8
  for (int r = 0; r < Rows; ++r) {
    const T* row = x + r * row_stride;
    sum += whole ? load<T>(row) : load_partial<T>(row, n, T{0});
  }
  if (whole) {
    store<T>(sums, sum);
  } else {
    store_partial<T>(sums, sum, n);
  }
}

// Sums of some rows after those that the sums already hold.
template <class T, int Rows>
NNEXT_INLINE void add_row_block(const T* x, index_t row_stride, T* sums, index_t cols,
                                bool accumulate) {
  constexpr int kVector = Simd<T>::lanes;
  index_t j = 0;
  for (; j + kVector <= cols; j += kVector) {
    add_rows<T, Rows>(x + j, row_stride, sums + j, kVector, accumulate);
  }
  if (j < cols) add_rows<T, Rows>(x + j, row_stride, sums + j, cols - j, accumulate);
}

// A few rows at a time along blocks of columns, so that memory is read in long runs while the sums
// stay in the first-level cache. (A strip of 4 vectors through all rows took twice as long once the
// rows lay a page apart.)
template <class T>
void column_sums_array(const T* x, index_t row_stride, T* sums, index_t rows, index_t cols,
                       bool accumulate) {
  constexpr index_t kBlock = 2048;
  constexpr int kRows = 4;
  for (index_t j = 0; j < cols; j += kBlock) {
    const index_t width = cols - j < kBlock ? cols - j : kBlock;
    bool goes_on = accumulate;
    index_t r = 0;
    for (; r + kRows <= rows; r += kRows, goes_on = true) {
      add_row_block<T, kRows>(x + r * row_stride + j, row_stride, sums + j, width, goes_on);
    }
    for (; r < rows; ++r, goes_on = true) {
      add_row_block<T, 1>(x + r * row_stride + j, row_stride, sums + j, width, goes_on);
    }
    if (!goes_on) add_row_block<T, 0>(x, row_stride, sums + j, width, false);  // zeros
  }
}

// Squares that are not normal add nothing.
NNEXT_INLINE Lanes<double> scaled_doubles(Lanes<double> x, const Factor<double>& scale) {
  for (int j = 0; j < kParts<double>; ++j) x.part[j] = times<double>(x.part[j], scale);
  return x;
}
// Converted before squaring: the square of a float is normal and exact in float64.
NNEXT_INLINE Lanes<double> scaled_doubles(Lanes<float> x, const Factor<double>& scale) {
  for (int j = 0; j < kParts<float>; ++j) x.part[j] = flushed<float>(x.part[j]);
  Lanes<double> converted{};
  add_lanes(converted, x);
  for (int j = 0; j < kParts<double>; ++j) converted.part[j] *= scale.value;
  return converted;
}

template <class T>
double sum_of_squares_array(const T* x, index_t n, double factor) {
  const double root = Normal<double>::kRootOfLeast / factor;
  const Factor<double> scale(factor, root > Normal<double>::kLeast ? root : Normal<double>::kLeast);
  Lanes<double> sum{};
  for (index_t i = 0; i < n; i += kLanes) {
    const Lanes<double> v = scaled_doubles(load_lanes<T>(x + i, n - i, T{0}), scale);
    for (int j = 0; j < kParts<double>; ++j) {
      sum.part[j] = fma(v.part[j], v.part[j], sum.part[j]);
    }
  }
  return sum_lanes(sum);
}

}  // namespace
}  // namespace NNEXT_SIMD
}  // namespace nnext
