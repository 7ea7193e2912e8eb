// Normalization of rows (layer norm) and of columns (batch norm), and their gradients.
//
// All is computed in float64, whatever the type, and rounded once as it is stored: the sums are
// then as good as exact for float32, and a variance that is small beside the mean loses nothing.
// Mean and variance are taken in two passes, the first of which adds up distances from an element,
// so that equal elements have exactly their own value as mean and the variance 0.
#pragma once

#include "kernels/small.h"

namespace nnext {
namespace NNEXT_SIMD {
namespace {

// How many rows share what is loaded once for a column.
constexpr int kNormRows = 4;

// Calls block(first row, how many, as the value of a type) for all rows in order.
template <int N>
struct RowCount {
  static constexpr int value = N;
};
template <class Block>
NNEXT_INLINE void for_norm_rows(index_t rows, const Block& block) {
  index_t r = 0;
  for (; r + kNormRows <= rows; r += kNormRows) block(r, RowCount<kNormRows>{});
  for (; r < rows; ++r) block(r, RowCount<1>{});
}

// Float64 arithmetic on elements of a type. What comes of float32 is far from the smallest normal
// float64; what comes of float64 is zero below it.
template <class T>
struct Wide {
  static constexpr bool kIsExact = sizeof(T) == 4;
  static NNEXT_INLINE VecD normal(VecD x) { return kIsExact ? x : flushed<double>(x); }
  static NNEXT_INLINE VecD times(VecD x, VecD y) {
    return kIsExact ? x * y : product<double>(x, y);
  }
  // x y + z
  static NNEXT_INLINE VecD add_product(VecD x, VecD y, VecD z) {
    return kIsExact ? fma(x, y, z) : flushed<double>(product<double>(x, y) + z);
  }
  // x^2 + z
  static NNEXT_INLINE VecD add_square(VecD x, VecD z) {
    const VecD root = broadcast<double>(Normal<double>::kRootOfLeast);
    const VecD large = kIsExact ? x : at_least<double>(x, bits(root));
    return fma(large, large, z);
  }
};

// 16 elements, or the first n of them and `fill`; below the smallest normal number of T zeros.
NNEXT_INLINE Lanes<double> load_wide(const float* p, index_t n, float fill = 0) {
  Lanes<float> x = load_lanes<float>(p, n, fill);
  for (int j = 0; j < kParts<float>; ++j) x.part[j] = flushed<float>(x.part[j]);
  return doubles(x);
}
NNEXT_INLINE Lanes<double> load_wide(const double* p, index_t n, double fill = 0) {
  Lanes<double> x = load_lanes<double>(p, n, fill);
  for (int j = 0; j < kParts<double>; ++j) x.part[j] = flushed<double>(x.part[j]);
  return x;
}

// The same the other way: what would round to a number below the smallest normal one is zero.
NNEXT_INLINE void store_wide(float* p, Lanes<double> x, index_t n) {
  const VecI64 least = bits(broadcast<double>(static_cast<double>(Normal<float>::kLeast)));
  for (int j = 0; j < kParts<double>; ++j) x.part[j] = at_least<double>(x.part[j], least);
  store_lanes<float>(p, floats(x), n);
}
NNEXT_INLINE void store_wide(double* p, Lanes<double> x, index_t n) {
  for (int j = 0; j < kParts<double>; ++j) x.part[j] = flushed<double>(x.part[j]);
  store_lanes<double>(p, x, n);
}

// The first n of 16, the others 0.
NNEXT_INLINE Lanes<double> first_lanes(const Lanes<double>& x, index_t n) {
  if (n >= kLanes) return x;
  double all[kLanes];
  store_lanes<double>(all, x, kLanes);
  return load_lanes<double>(all, n, 0.0);
}

// x less y, a number or one for each lane.
template <class T>
NNEXT_INLINE Lanes<double> distances(Lanes<double> x, VecD y) {
  for (int j = 0; j < kParts<double>; ++j) x.part[j] = Wide<T>::normal(x.part[j] - y);
  return x;
}
template <class T>
NNEXT_INLINE Lanes<double> distances(Lanes<double> x, const Lanes<double>& y) {
  for (int j = 0; j < kParts<double>; ++j) x.part[j] = Wide<T>::normal(x.part[j] - y.part[j]);
  return x;
}

// A number that is not normal is 0.
NNEXT_INLINE double normal_number(double x) { return flushed<double>(broadcast<double>(x))[0]; }

template <class T>
void inverse_root_array(const T* x, T* y, index_t n, T eps) {
  constexpr int kVector = Simd<T>::lanes;
  for (index_t i = 0; i < n; i += kVector) {
    const index_t left = n - i < kVector ? n - i : kVector;
    const Vec<T> v = load_partial<T>(x + i, left, T{1}) + broadcast<T>(eps);
    store_partial<T>(y + i, broadcast<T>(T{1}) / square_root(v), left);
  }
}

// The mean of a row and 1 / sqrt(variance + eps).
struct RowMoments {
  double mean;
  double rstd;
};

template <class T>
NNEXT_INLINE RowMoments row_moments(const T* x, index_t n, double eps) {
  const T first = flushed<T>(broadcast<T>(x[0]))[0];
  const VecD origin = broadcast<double>(static_cast<double>(first));
  Lanes<double> sum{};
  for (index_t i = 0; i < n; i += kLanes) {
    add_lanes(sum, distances<T>(load_wide(x + i, n - i, first), origin));
  }
  const double count = static_cast<double>(n);
  const double from_first = normal_number(sum_lanes(sum)) / count;
  const double mean = normal_number(static_cast<double>(first) + normal_number(from_first));
  Lanes<double> squares{};
  for (index_t i = 0; i < n; i += kLanes) {
    const Lanes<double> all = distances<T>(load_wide(x + i, n - i), broadcast<double>(mean));
    const Lanes<double> d = first_lanes(all, n - i);
    for (int j = 0; j < kParts<double>; ++j) {
      squares.part[j] = Wide<T>::add_square(d.part[j], squares.part[j]);
    }
  }
  const double variance = normal_number(sum_lanes(squares) / count);
  return {mean, 1.0 / square_root(broadcast<double>(variance + eps))[0]};
}

// y = (x - mean) rstd gamma + beta of some rows.
template <class T, int Rows>
NNEXT_INLINE void normalize_rows(const T* x, const T* gamma, const T* beta, const double* mean,
                                 const double* rstd, T* y, index_t cols) {
  for (index_t i = 0; i < cols; i += kLanes) {
    const index_t left = cols - i;
    const Lanes<double> g = load_wide(gamma + i, left);
    const Lanes<double> b = load_wide(beta + i, left);
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
      const VecD m = broadcast<double>(mean[r]);
      const VecD s = broadcast<double>(rstd[r]);
      Lanes<double> v = distances<T>(load_wide(x + r * cols + i, left), m);
      for (int j = 0; j < kParts<double>; ++j) {
        v.part[j] = Wide<T>::add_product(Wide<T>::times(v.part[j], s), g.part[j], b.part[j]);
      }
      store_wide(y + r * cols + i, v, left);
    }
  }
}

template <class T>
void layer_norm_rows(const T* x, const T* gamma, const T* beta, double eps, T* y, double* mean,
                     double* rstd, index_t rows, index_t cols) {
  for_norm_rows(rows, [&](index_t first, auto count) NNEXT_LAMBDA {
    const index_t at = first * cols;
    for (int r = 0; r < count.value; ++r) {
      const RowMoments moments = row_moments<T>(x + at + r * cols, cols, eps);
      mean[first + r] = moments.mean;
      rstd[first + r] = moments.rstd;
    }
    normalize_rows<T, count.value>(x + at, gamma, beta, mean + first, rstd + first, y + at, cols);
  });
}

// dx of a row: rstd (h - mean of h - z mean of h z), with h = dout gamma and z = (x - mean) rstd.
template <class T>
NNEXT_INLINE void layer_norm_backward_row(const T* x, const T* dout, const T* gamma, double mean,
                                          double rstd, T* dx, index_t cols) {
  const VecD m = broadcast<double>(mean);
  const VecD s = broadcast<double>(rstd);
  const auto load_terms = [&](index_t i, Lanes<double>& h, Lanes<double>& z) NNEXT_LAMBDA {
    const index_t left = cols - i;
    h = load_wide(dout + i, left);
    z = distances<T>(load_wide(x + i, left), m);
    const Lanes<double> g = load_wide(gamma + i, left);
    for (int j = 0; j < kParts<double>; ++j) {
      h.part[j] = Wide<T>::times(h.part[j], g.part[j]);
      z.part[j] = Wide<T>::times(z.part[j], s);
    }
  };
  Lanes<double> sum{};
  Lanes<double> products{};
  for (index_t i = 0; i < cols; i += kLanes) {
    Lanes<double> h;
    Lanes<double> z;
    load_terms(i, h, z);
    add_lanes(sum, h);
    // Past the end h is 0, and z no NaN unless the mean is one.
    for (int j = 0; j < kParts<double>; ++j) {
      products.part[j] = Wide<T>::add_product(z.part[j], h.part[j], products.part[j]);
    }
  }
  const double count = static_cast<double>(cols);
  const VecD mean_h = broadcast<double>(normal_number(sum_lanes(sum) / count));
  const VecD mean_hz = broadcast<double>(normal_number(sum_lanes(products) / count));
  for (index_t i = 0; i < cols; i += kLanes) {
    Lanes<double> h;
    Lanes<double> z;
    load_terms(i, h, z);
    for (int j = 0; j < kParts<double>; ++j) {
      const VecD d = Wide<T>::normal(h.part[j] - mean_h);
      h.part[j] = Wide<T>::times(Wide<T>::add_product(-z.part[j], mean_hz, d), s);
    }
    store_wide(dx + i, h, cols - i);
  }
}

template <class T>
void layer_norm_backward_rows(const T* x, const T* dout, const T* gamma, const double* mean,
                              const double* rstd, T* dx, index_t rows, index_t cols) {
  for (index_t r = 0; r < rows; ++r, x += cols, dout += cols, dx += cols) {
    layer_norm_backward_row<T>(x, dout, gamma, mean[r], rstd[r], dx, cols);
  }
}

// Adds to sums[j] the distances of column j from origin[j], or with Squares their squares.
template <class T, bool Squares>
void column_distances(const T* x, index_t row_stride, const double* origin, double* sums,
                      index_t rows, index_t cols) {
  for_norm_rows(rows, [&](index_t first, auto count) NNEXT_LAMBDA {
    const T* const from = x + first * row_stride;
    for (index_t i = 0; i < cols; i += kLanes) {
      const index_t left = cols - i;
      const Lanes<double> o = load_lanes<double>(origin + i, left, 0.0);
      Lanes<double> sum = load_lanes<double>(sums + i, left, 0.0);
#pragma GCC unroll 4
      for (int r = 0; r < count.value; ++r) {
        const Lanes<double> d = distances<T>(load_wide(from + r * row_stride + i, left), o);
        for (int j = 0; j < kParts<double>; ++j) {
          sum.part[j] = Squares ? Wide<T>::add_square(d.part[j], sum.part[j])
                                : Wide<T>::normal(sum.part[j] + d.part[j]);
        }
      }
      store_lanes<double>(sums + i, sum, left);
    }
  });
}

// y = (x - mean) scale + shift, one of each for a column.
template <class T>
void normalize_columns(const T* x, index_t row_stride, const double* mean, const double* scale,
                       const double* shift, T* y, index_t rows, index_t cols) {
  for_norm_rows(rows, [&](index_t first, auto count) NNEXT_LAMBDA {
    const index_t at = first * row_stride;
    for (index_t i = 0; i < cols; i += kLanes) {
      const index_t left = cols - i;
      const Lanes<double> m = load_lanes<double>(mean + i, left, 0.0);
      const Lanes<double> a = load_lanes<double>(scale + i, left, 0.0);
      const Lanes<double> b = load_lanes<double>(shift + i, left, 0.0);
#pragma GCC unroll 4
      for (int r = 0; r < count.value; ++r) {
        const index_t here = at + r * row_stride + i;
        Lanes<double> v = distances<T>(load_wide(x + here, left), m);
        for (int j = 0; j < kParts<double>; ++j) {
          v.part[j] = Wide<T>::add_product(v.part[j], a.part[j], b.part[j]);
        }
        store_wide(y + here, v, left);
      }
    }
  });
}

// Adds to dbeta[j] the sum of dout, and to dgamma[j] that of dout (x - mean) rstd: with PerRow mean
// and rstd are those of the rows, else those of the columns, and rstd is not read but left to the
// caller.
template <class T, bool PerRow>
void norm_parameter_sums(const T* x, const T* dout, index_t row_stride, const double* mean,
                         const double* rstd, double* dgamma, double* dbeta, index_t rows,
                         index_t cols) {
  for_norm_rows(rows, [&](index_t first, auto count) NNEXT_LAMBDA {
    const index_t at = first * row_stride;
    for (index_t i = 0; i < cols; i += kLanes) {
      const index_t left = cols - i;
      Lanes<double> products = load_lanes<double>(dgamma + i, left, 0.0);
      Lanes<double> sum = load_lanes<double>(dbeta + i, left, 0.0);
      Lanes<double> m{};
      if constexpr (!PerRow) m = load_lanes<double>(mean + i, left, 0.0);
#pragma GCC unroll 4
      for (int r = 0; r < count.value; ++r) {
        const index_t here = at + r * row_stride + i;
        const Lanes<double> d = load_wide(dout + here, left);
        Lanes<double> z = load_wide(x + here, left);
        if constexpr (PerRow) {
          z = distances<T>(z, broadcast<double>(mean[first + r]));
          const VecD s = broadcast<double>(rstd[first + r]);
          for (int j = 0; j < kParts<double>; ++j) z.part[j] = Wide<T>::times(z.part[j], s);
        } else {
          z = distances<T>(z, m);
        }
        for (int j = 0; j < kParts<double>; ++j) {
          sum.part[j] = Wide<T>::normal(sum.part[j] + d.part[j]);
          products.part[j] = Wide<T>::add_product(z.part[j], d.part[j], products.part[j]);
        }
      }
      store_lanes<double>(dgamma + i, products, left);
      store_lanes<double>(dbeta + i, sum, left);
    }
  });
}

// dx = scale (dout - mean_dout - (x - mean) slope), one of each for a column.
template <class T>
void batch_norm_backward_rows(const T* x, const T* dout, index_t row_stride, const double* mean,
                              const double* scale, const double* mean_dout, const double* slope,
                              T* dx, index_t rows, index_t cols) {
  for_norm_rows(rows, [&](index_t first, auto count) NNEXT_LAMBDA {
    const index_t at = first * row_stride;
    for (index_t i = 0; i < cols; i += kLanes) {
      const index_t left = cols - i;
      const Lanes<double> m = load_lanes<double>(mean + i, left, 0.0);
      const Lanes<double> a = load_lanes<double>(scale + i, left, 0.0);
      const Lanes<double> c = load_lanes<double>(mean_dout + i, left, 0.0);
      const Lanes<double> b = load_lanes<double>(slope + i, left, 0.0);
#pragma GCC unroll 4
      for (int r = 0; r < count.value; ++r) {
        const index_t here = at + r * row_stride + i;
        const Lanes<double> z = distances<T>(load_wide(x + here, left), m);
        Lanes<double> d = distances<T>(load_wide(dout + here, left), c);
        for (int j = 0; j < kParts<double>; ++j) {
          d.part[j] =
              Wide<T>::times(Wide<T>::add_product(-z.part[j], b.part[j], d.part[j]), a.part[j]);
        }
        store_wide(dx + here, d, left);
      }
    }
  });
}

}  // namespace
}  // namespace NNEXT_SIMD
}  // namespace nnext
