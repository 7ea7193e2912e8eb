// A row against rows of a table: its dot products with them, and the multiples of rows that the
// gradients of these are made of.
#pragma once

#include "kernels/elementwise.h"
#include "kernels/lanes.h"
#include "kernels/small.h"

namespace nnext {
namespace NNEXT_SIMD {
namespace {

// 16 products, each added to a sum of its own. Those of doubles keep IEEE's gradual underflow, as
// in the matrix product.
NNEXT_INLINE void add_products(Lanes<double>& sum, const Lanes<double>& x, const Lanes<double>& y) {
  for (int j = 0; j < kParts<double>; ++j) {
    sum.part[j] = fma(x.part[j], y.part[j], sum.part[j]);
  }
}
// The product of two normal floats is normal and exact in float64.
NNEXT_INLINE void add_products(Lanes<double>& sum, Lanes<float> x, Lanes<float> y) {
  for (int j = 0; j < kParts<float>; ++j) {
    x.part[j] = flushed<float>(x.part[j]);
    y.part[j] = flushed<float>(y.part[j]);
  }
  add_products(sum, doubles(x), doubles(y));
}

template <class T>
void row_dots_array(const T* x, const T* table, index_t row_stride, const std::int64_t* index,
                    index_t n, index_t width, T* out) {
  for (index_t i = 0; i < n; ++i) {
    const T* const row = table + index[i] * row_stride;
    Lanes<double> sum{};
    for (index_t j = 0; j < width; j += kLanes) {
      add_products(sum, load_lanes<T>(x + j, width - j, T{0}),
                   load_lanes<T>(row + j, width - j, T{0}));
    }
    out[i] = static_cast<T>(sum_lanes(sum));
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
