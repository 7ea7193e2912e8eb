// Normalization of rows (layer norm) and of columns (batch norm), and their gradients.
//
// All is computed in float64, whatever the type, and rounded once as it is stored. Mean and
// variance come of the sums of the distances d from some element, the origin, and of their squares:
// mean = origin + sum(d) / n, variance = (sum(d^2) - sum(d)^2 / n) / n. Equal elements have exactly
// their value as mean, and the variance 0. If the origin is one of the n elements, its distance
// from the mean is at most sqrt(n) standard deviations, so that the difference loses no more than
// the digits of n + 1: float64 has them to spare for float32 of up to kLongestChain elements, else
// the mean is the origin of a second pass (Chan, Golub and LeVeque, Algorithms for Computing the
// Sample Variance, 1983).
#pragma once

#include "kernels/lanes.h"
#include "kernels/small.h"

namespace nnext {
namespace NNEXT_SIMD {
namespace {

// How many rows share what is loaded once for a column.
constexpr int kNormRows = 4;
// Of how many of these the sums along the row are taken together: as many as have registers. With
// one at a time and two vectors a sum, additions wait for each other.
constexpr int kSumRows = kParts<double> == 2 ? kNormRows : 1;

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

// What would be stored as a number below the smallest normal one, made zero with its sign.
template <class T>
NNEXT_INLINE void flush_wide(Lanes<double>& x) {
  const VecI64 least = bits(broadcast<double>(static_cast<double>(Normal<T>::kLeast)));
  for (int j = 0; j < kParts<double>; ++j) x.part[j] = at_least<double>(x.part[j], least);
}

// Stores 16 elements, or the first n of them, of some rows. That there is none to flush, as nearly
// always, is found out for all rows together: it costs half of flushing them. Batch norm of 256
// rows of 1024, AVX-512, one core of a Zen 5 EPYC: 33 us against 45.
template <int Rows>
NNEXT_INLINE void store_rows(float* p, index_t row_stride, Lanes<double> (&x)[Rows], index_t n) {
  VecD smallest = broadcast<double>(1.0);
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) {
    for (int j = 0; j < kParts<double>; ++j) {
      smallest = minimum(from_bits(magnitude_bits<double>(x[r].part[j])), smallest);
    }
  }
  const VecD least = broadcast<double>(static_cast<double>(Normal<float>::kLeast));
  if (__builtin_expect(any_less(smallest, least), 0)) {
    for (int r = 0; r < Rows; ++r) flush_wide<float>(x[r]);
  }
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) store_lanes<float>(p + r * row_stride, floats(x[r]), n);
}
template <int Rows>
NNEXT_INLINE void store_rows(double* p, index_t row_stride, Lanes<double> (&x)[Rows], index_t n) {
#pragma GCC unroll 4
  for (int r = 0; r < Rows; ++r) {
    flush_wide<double>(x[r]);
    store_lanes<double>(p + r * row_stride, x[r], n);
  }
}

// Calls step(first, how many) for 16 elements at a time; the last may be fewer.
template <class Step>
NNEXT_INLINE void for_lanes(index_t n, const Step& step) {
  index_t i = 0;
  for (; i + kLanes <= n; i += kLanes) step(i, index_t{kLanes});
  if (i < n) step(i, n - i);
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

// Sums of the distances from an origin and of their squares.
struct DistanceSums {
  double sum;
  double squares;
};

template <class T, int Rows>
NNEXT_INLINE void row_distances(const T* x, index_t cols, const T* origin, DistanceSums* sums) {
  Lanes<double> sum[Rows] = {};
  Lanes<double> squares[Rows] = {};
  for_lanes(cols, [&](index_t i, index_t left) NNEXT_LAMBDA {
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
      const VecD o = broadcast<double>(static_cast<double>(origin[r]));
      // Past the end lies the origin, at no distance.
      const Lanes<double> d = distances<T>(load_wide(x + r * cols + i, left, origin[r]), o);
      for (int j = 0; j < kParts<double>; ++j) {
        sum[r].part[j] = Wide<T>::normal(sum[r].part[j] + d.part[j]);
        squares[r].part[j] = Wide<T>::add_square(d.part[j], squares[r].part[j]);
      }
    }
  });
  for (int r = 0; r < Rows; ++r) sums[r] = {sum_lanes(sum[r]), sum_lanes(squares[r])};
}

template <class T, int Rows>
NNEXT_INLINE void row_moments(const T* x, index_t cols, double eps, double* mean, double* rstd) {
  const auto count = static_cast<double>(cols);
  T origin[Rows];
  DistanceSums sums[Rows];
  double from_origin[Rows];
  const auto take_sums = [&]() NNEXT_LAMBDA {
    row_distances<T, Rows>(x, cols, origin, sums);
    for (int r = 0; r < Rows; ++r) {
      from_origin[r] = normal_number(normal_number(sums[r].sum) / count);
      mean[r] = normal_number(static_cast<double>(origin[r]) + from_origin[r]);
    }
  };
  for (int r = 0; r < Rows; ++r) origin[r] = flushed<T>(broadcast<T>(x[r * cols]))[0];
  take_sums();
  if (sizeof(T) == 8 || cols > kLongestChain) {
    for (int r = 0; r < Rows; ++r) origin[r] = flushed<T>(broadcast<T>(static_cast<T>(mean[r])))[0];
    take_sums();
  }
  for (int r = 0; r < Rows; ++r) {
    const double squares = sums[r].squares - normal_number(sums[r].sum) * from_origin[r];
    const double variance = squares < Normal<double>::kLeast * count ? 0 : squares / count;
    const double root = square_root(broadcast<double>(variance + eps))[0];
    rstd[r] = 1.0 / root;
  }
}

template <class T>
void layer_norm_rows(const T* x, const T* gamma, const T* beta, double eps, T* y, double* mean,
                     double* rstd, index_t rows, index_t cols) {
  for_norm_rows(rows, [&](index_t first, auto count) NNEXT_LAMBDA {
    constexpr int kRows = decltype(count)::value;
    constexpr int kTogether = kRows < kSumRows ? kRows : kSumRows;
    const T* const from = x + first * cols;
    T* const to = y + first * cols;
    const double* const m = mean + first;
    const double* const s = rstd + first;
    for (int r = 0; r < kRows; r += kTogether) {
      row_moments<T, kTogether>(from + r * cols, cols, eps, mean + first + r, rstd + first + r);
    }
    for_lanes(cols, [&](index_t i, index_t left) NNEXT_LAMBDA {
      const Lanes<double> g = load_wide(gamma + i, left);
      const Lanes<double> b = load_wide(beta + i, left);
      for (int first_row = 0; first_row < kRows; first_row += kTogether) {
        Lanes<double> v[kTogether];
#pragma GCC unroll 4
        for (int k = 0; k < kTogether; ++k) {
          const int r = first_row + k;
          const VecD scale = broadcast<double>(s[r]);
          v[k] = distances<T>(load_wide(from + r * cols + i, left), broadcast<double>(m[r]));
          for (int j = 0; j < kParts<double>; ++j) {
            const VecD z = Wide<T>::times(v[k].part[j], scale);
            v[k].part[j] = Wide<T>::add_product(z, g.part[j], b.part[j]);
          }
        }
        store_rows<kTogether>(to + first_row * cols + i, cols, v, left);
      }
    });
  });
}

// With d = x - mean and h = dout gamma of a row: adds d rstd dout to dgamma and dout to dbeta, and
// returns the sums of h and of h d.
template <class T, int Rows>
NNEXT_INLINE void layer_norm_sums(const T* x, const T* dout, const T* gamma, const double* mean,
                                  const double* rstd, index_t cols, double* dgamma, double* dbeta,
                                  double* sum_h, double* sum_hd) {
  Lanes<double> of_h[Rows] = {};
  Lanes<double> of_hd[Rows] = {};
  for_lanes(cols, [&](index_t i, index_t left) NNEXT_LAMBDA {
    const Lanes<double> g = load_wide(gamma + i, left);
    Lanes<double> to_gamma = load_lanes<double>(dgamma + i, left, 0.0);
    Lanes<double> to_beta = load_lanes<double>(dbeta + i, left, 0.0);
#pragma GCC unroll 4
    for (int r = 0; r < Rows; ++r) {
      const VecD scale = broadcast<double>(rstd[r]);
      const Lanes<double> o = load_wide(dout + r * cols + i, left);
      const Lanes<double> d =
          distances<T>(load_wide(x + r * cols + i, left), broadcast<double>(mean[r]));
      for (int j = 0; j < kParts<double>; ++j) {
        const VecD h = Wide<T>::times(o.part[j], g.part[j]);  // past the end 0
        const VecD z = Wide<T>::times(d.part[j], scale);
        of_h[r].part[j] = Wide<T>::normal(of_h[r].part[j] + h);
        of_hd[r].part[j] = Wide<T>::add_product(d.part[j], h, of_hd[r].part[j]);
        to_beta.part[j] = Wide<T>::normal(to_beta.part[j] + o.part[j]);
        to_gamma.part[j] = Wide<T>::add_product(z, o.part[j], to_gamma.part[j]);
      }
    }
    store_lanes<double>(dgamma + i, to_gamma, left);
    store_lanes<double>(dbeta + i, to_beta, left);
  });
  for (int r = 0; r < Rows; ++r) {
    sum_h[r] = normal_number(sum_lanes(of_h[r]));
    sum_hd[r] = normal_number(sum_lanes(of_hd[r]));
  }
}

// dx = rstd (h - mean(h) - d rstd^2 mean(h d))
template <class T>
void layer_norm_backward_rows(const T* x, const T* dout, const T* gamma, const double* mean,
                              const double* rstd, T* dx, double* dgamma, double* dbeta,
                              index_t rows, index_t cols) {
  const auto n = static_cast<double>(cols);
  for_norm_rows(rows, [&](index_t first, auto count) NNEXT_LAMBDA {
    constexpr int kRows = decltype(count)::value;
    constexpr int kTogether = kRows < kSumRows ? kRows : kSumRows;
    const T* const from = x + first * cols;
    const T* const given = dout + first * cols;
    const double* const m = mean + first;
    const double* const s = rstd + first;
    double mean_h[kRows];
    double slope[kRows];
    for (int r = 0; r < kRows; r += kTogether) {
      layer_norm_sums<T, kTogether>(from + r * cols, given + r * cols, gamma, m + r, s + r, cols,
                                    dgamma, dbeta, mean_h + r, slope + r);
    }
    if (dx == nullptr) return;
    T* const to = dx + first * cols;
    for (int r = 0; r < kRows; ++r) {
      mean_h[r] = normal_number(mean_h[r] / n);
      slope[r] = normal_number(normal_number(slope[r] / n) * s[r]);
      slope[r] = normal_number(slope[r] * s[r]);
    }
    for_lanes(cols, [&](index_t i, index_t left) NNEXT_LAMBDA {
      const Lanes<double> g = load_wide(gamma + i, left);
      for (int first_row = 0; first_row < kRows; first_row += kTogether) {
        Lanes<double> h[kTogether];
#pragma GCC unroll 4
        for (int k = 0; k < kTogether; ++k) {
          const int r = first_row + k;
          const Lanes<double> d =
              distances<T>(load_wide(from + r * cols + i, left), broadcast<double>(m[r]));
          h[k] = load_wide(given + r * cols + i, left);
          for (int j = 0; j < kParts<double>; ++j) {
            const VecD gradient = Wide<T>::times(h[k].part[j], g.part[j]);
            const VecD apart = Wide<T>::normal(gradient - broadcast<double>(mean_h[r]));
            const VecD rest = Wide<T>::add_product(-d.part[j], broadcast<double>(slope[r]), apart);
            h[k].part[j] = Wide<T>::times(rest, broadcast<double>(s[r]));
          }
        }
        store_rows<kTogether>(to + first_row * cols + i, cols, h, left);
      }
    });
  });
}

// Adds to sums[j] the distances of column j from origin[j], and to squares[j] their squares.
template <class T>
void column_distances(const T* x, index_t row_stride, const double* origin, double* sums,
                      double* squares, index_t rows, index_t cols) {
  for_norm_rows(rows, [&](index_t first, auto count) NNEXT_LAMBDA {
    const T* const from = x + first * row_stride;
    for_lanes(cols, [&](index_t i, index_t left) NNEXT_LAMBDA {
      const Lanes<double> o = load_lanes<double>(origin + i, left, 0.0);
      Lanes<double> sum = load_lanes<double>(sums + i, left, 0.0);
      Lanes<double> square = load_lanes<double>(squares + i, left, 0.0);
#pragma GCC unroll 4
      for (int r = 0; r < decltype(count)::value; ++r) {
        const Lanes<double> d = distances<T>(load_wide(from + r * row_stride + i, left), o);
        for (int j = 0; j < kParts<double>; ++j) {
          sum.part[j] = Wide<T>::normal(sum.part[j] + d.part[j]);
          square.part[j] = Wide<T>::add_square(d.part[j], square.part[j]);
        }
      }
      store_lanes<double>(sums + i, sum, left);
      store_lanes<double>(squares + i, square, left);
    });
  });
}

// y = (x - mean) scale + shift, one of each for a column.
template <class T>
void normalize_columns(const T* x, index_t row_stride, const double* mean, const double* scale,
                       const double* shift, T* y, index_t rows, index_t cols) {
  for_norm_rows(rows, [&](index_t first, auto count) NNEXT_LAMBDA {
    constexpr int kRows = decltype(count)::value;
    constexpr int kTogether = kRows < kSumRows ? kRows : kSumRows;
    const index_t at = first * row_stride;
    for_lanes(cols, [&](index_t i, index_t left) NNEXT_LAMBDA {
      const Lanes<double> m = load_lanes<double>(mean + i, left, 0.0);
      const Lanes<double> a = load_lanes<double>(scale + i, left, 0.0);
      const Lanes<double> b = load_lanes<double>(shift + i, left, 0.0);
      for (int first_row = 0; first_row < kRows; first_row += kTogether) {
        const index_t here = at + first_row * row_stride + i;
        Lanes<double> v[kTogether];
#pragma GCC unroll 4
        for (int k = 0; k < kTogether; ++k) {
          v[k] = distances<T>(load_wide(x + here + k * row_stride, left), m);
          for (int j = 0; j < kParts<double>; ++j) {
            v[k].part[j] = Wide<T>::add_product(v[k].part[j], a.part[j], b.part[j]);
          }
        }
        store_rows<kTogether>(y + here, row_stride, v, left);
      }
    });
  });
}

// Adds to dbeta[j] the sum of dout, and to products[j] that of dout (x - mean).
template <class T>
void batch_norm_sums_rows(const T* x, const T* dout, index_t row_stride, const double* mean,
                          double* products, double* dbeta, index_t rows, index_t cols) {
  for_norm_rows(rows, [&](index_t first, auto count) NNEXT_LAMBDA {
    const index_t at = first * row_stride;
    for_lanes(cols, [&](index_t i, index_t left) NNEXT_LAMBDA {
      const Lanes<double> m = load_lanes<double>(mean + i, left, 0.0);
      Lanes<double> product = load_lanes<double>(products + i, left, 0.0);
      Lanes<double> sum = load_lanes<double>(dbeta + i, left, 0.0);
#pragma GCC unroll 4
      for (int r = 0; r < decltype(count)::value; ++r) {
        const index_t here = at + r * row_stride + i;
        const Lanes<double> o = load_wide(dout + here, left);
        const Lanes<double> d = distances<T>(load_wide(x + here, left), m);
        for (int j = 0; j < kParts<double>; ++j) {
          sum.part[j] = Wide<T>::normal(sum.part[j] + o.part[j]);
          product.part[j] = Wide<T>::add_product(d.part[j], o.part[j], product.part[j]);
        }
      }
      store_lanes<double>(products + i, product, left);
      store_lanes<double>(dbeta + i, sum, left);
    });
  });
}

// dx = scale (dout - mean_dout - (x - mean) slope), one of each for a column.
template <class T>
void batch_norm_backward_rows(const T* x, const T* dout, index_t row_stride, const double* mean,
                              const double* scale, const double* mean_dout, const double* slope,
                              T* dx, index_t rows, index_t cols) {
  for_norm_rows(rows, [&](index_t first, auto count) NNEXT_LAMBDA {
    constexpr int kRows = decltype(count)::value;
    constexpr int kTogether = kRows < kSumRows ? kRows : kSumRows;
    const index_t at = first * row_stride;
    for_lanes(cols, [&](index_t i, index_t left) NNEXT_LAMBDA {
      const Lanes<double> m = load_lanes<double>(mean + i, left, 0.0);
      const Lanes<double> a = load_lanes<double>(scale + i, left, 0.0);
      const Lanes<double> c = load_lanes<double>(mean_dout + i, left, 0.0);
      const Lanes<double> b = load_lanes<double>(slope + i, left, 0.0);
      for (int first_row = 0; first_row < kRows; first_row += kTogether) {
        const index_t here = at + first_row * row_stride + i;
        Lanes<double> v[kTogether];
#pragma GCC unroll 4
        for (int k = 0; k < kTogether; ++k) {
          const index_t from = here + k * row_stride;
          const Lanes<double> d = distances<T>(load_wide(x + from, left), m);
          v[k] = distances<T>(load_wide(dout + from, left), c);
          for (int j = 0; j < kParts<double>; ++j) {
            const VecD rest = Wide<T>::add_product(-d.part[j], b.part[j], v[k].part[j]);
            v[k].part[j] = Wide<T>::times(rest, a.part[j]);
          }
        }
        store_rows<kTogether>(dx + here, row_stride, v, left);
      }
    });
  });
}

}  // namespace
}  // namespace NNEXT_SIMD
}  // namespace nnext
