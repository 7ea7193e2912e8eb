// A row against rows of a table: its dot products with them, and the multiples of rows that the
// gradients of these are made of.
#pragma once

#include "kernels/elementwise.h"
#include "kernels/lanes.h"
#include "kernels/small.h"

namespace nnext {
namespace NNEXT_SIMD {
namespace {

template <class T>
NNEXT_INLINE Lanes<T> flushed_lanes(const T* p, index_t left) {
  Lanes<T> x = load_lanes<T>(p, left, T{0});
  for (int j = 0; j < kParts<T>; ++j) x.part[j] = flushed<T>(x.part[j]);
  return x;
}

// 16 products, each added to a sum of its own. (Those of tiny doubles may be below the normal
// numbers for a moment; those of floats are normal and exact in float64.)
NNEXT_INLINE void add_products(Lanes<double>& sum, const Lanes<double>& x, const Lanes<double>& y) {
  for (int j = 0; j < kParts<double>; ++j) {
    sum.part[j] = fma(x.part[j], y.part[j], sum.part[j]);
  }
}
NNEXT_INLINE void add_products(Lanes<double>& sum, const Lanes<float>& x, const Lanes<float>& y) {
  add_products(sum, doubles(x), doubles(y));
}

template <class T>
void row_dots_array(const T* x, const T* table, index_t row_stride, const std::int64_t* index,
                    index_t n, index_t width, T* out) {
  for (index_t i = 0; i < n; ++i) {
    const T* const row = table + index[i] * row_stride;
    Lanes<double> sum{};
    for (index_t j = 0; j < width; j += kLanes) {
      add_products(sum, flushed_lanes(x + j, width - j), flushed_lanes(row + j, width - j));
    }
    out[i] = flushed<T>(broadcast<T>(static_cast<T>(sum_lanes(sum))))[0];
  }
}

template <class T>
void add_multiple_array(T* sum, const T* x, T factor, index_t n) {
  const Vec<T> f = flushed<T>(broadcast<T>(factor));
  map<T>(sum, n, [f](Vec<T> s, Vec<T> v) NNEXT_LAMBDA { return s + product<T>(v, f); }, sum, x);
}

}  // namespace
}  // namespace NNEXT_SIMD
}  // namespace nnext
