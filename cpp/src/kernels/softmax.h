// Softmax along contiguous rows, its loss and their gradients.
//
// With m the largest score of a row and S' the sum of e^(x_i - m) over all elements but one that
// equals m, the row's sum is 1 + S' and its loss (m - x_t) + log(1 + S'): two terms that are not
// negative, so nothing cancels and a loss near 0 keeps all its digits.
#pragma once

#include "kernels/math.h"

namespace nnext {
namespace NNEXT_SIMD {
namespace {

template <class T>
NNEXT_INLINE Vec<T> maximum(Vec<T> a, Vec<T> b) {
  return a > b ? a : b;
}

// The largest element that is not NaN; -inf where there is none.
template <class T>
NNEXT_INLINE T row_maximum(const T* x, index_t n) {
  constexpr int kVector = Simd<T>::lanes;
  constexpr int kChains = 4;  // independent maxima, so that loads and not the latency set the pace
  const Vec<T> none = -infinity<T>();
  Vec<T> most[kChains] = {none, none, none, none};
  index_t i = 0;
  for (; i + kChains * kVector <= n; i += kChains * kVector) {
#pragma GCC unroll 4
    for (int j = 0; j < kChains; ++j) most[j] = maximum<T>(load<T>(x + i + j * kVector), most[j]);
  }
  for (; i + kVector <= n; i += kVector) most[0] = maximum<T>(load<T>(x + i), most[0]);
  if (i < n) {
    most[1] = maximum<T>(load_partial<T>(x + i, n - i, none[0]), most[1]);
  }
  const Vec<T> v = maximum<T>(maximum<T>(most[0], most[1]), maximum<T>(most[2], most[3]));
  T best = v[0];
#pragma GCC unroll 16
  for (int j = 1; j < kVector; ++j) best = v[j] > best ? v[j] : best;
  return best;
}

// Writes e^(x - m) to y and returns S'. The rounding error of x - m goes into the exponential: for
// scores far from 0 it would cost more than the exponential's own.
template <class T>
NNEXT_INLINE double exponentials(const T* x, T* y, index_t n, T m) {
  const Vec<T> most = broadcast<T>(m);
  Lanes<double> sum{};
  IntVec<T> count[kParts<T>]{};
  for (index_t i = 0; i < n; i += kLanes) {
    const Lanes<T> scores = load_lanes<T>(x + i, n - i, -infinity<T>()[0]);
    Lanes<T> e;
    Lanes<T> others;
#pragma GCC unroll 8
    for (int j = 0; j < kParts<T>; ++j) {
      const Vec<T> v = scores.part[j];
      const Vec<T> d = v - most;
      const Vec<T> back = d - v;  // Knuth's two-sum of v and -m
      const Vec<T> error = (v - (d - back)) - (most + back);
      e.part[j] = exp_corrected<T>(d, error);
      const IntVec<T> is_most = v == most;
      others.part[j] = is_most ? Vec<T>{} : e.part[j];
      count[j] -= is_most;
    }
    add_lanes(sum, others);
    store_lanes<T>(y + i, e, n - i);
  }
  index_t equal = 0;
  for (int j = 0; j < kParts<T>; ++j) {
    for (int lane = 0; lane < Simd<T>::lanes; ++lane) equal += static_cast<index_t>(count[j][lane]);
  }
  // A maximum of +-inf makes every probability NaN: m - m is NaN then, and 0 else.
  return sum_lanes(sum) + static_cast<double>(equal - 1) + static_cast<double>(m - m);
}

template <class T>
void softmax_rows(const T* x, T* y, index_t rows, index_t cols, const std::int64_t* t,
                  double* loss) {
  constexpr int kVector = Simd<T>::lanes;
  constexpr index_t kBlock = 64;  // rows whose logarithms are taken together, a vector at a time
  double others[kBlock];
  double distance[kBlock];  // m - x_t
  for (index_t first = 0; first < rows; first += kBlock) {
    const index_t block = rows - first < kBlock ? rows - first : kBlock;
    for (index_t r = 0; r < block; ++r) {
      const T* row = x + (first + r) * cols;
      T* out = y + (first + r) * cols;
      const T m = row_maximum<T>(row, cols);
      others[r] = exponentials<T>(row, out, cols, m);
      if (t != nullptr) {
        distance[r] = static_cast<double>(m) - static_cast<double>(row[t[first + r]]);
      }
      const Vec<T> inverse = broadcast<T>(static_cast<T>(1.0 / (1.0 + others[r])));
      index_t i = 0;
      for (; i + kVector <= cols; i += kVector) store<T>(out + i, load<T>(out + i) * inverse);
      if (i < cols) {
        store_partial<T>(out + i, load_partial<T>(out + i, cols - i, T{0}) * inverse, cols - i);
      }
    }
    if (loss == nullptr) continue;
    for (index_t r = 0; r < block; r += Simd<double>::lanes) {
      const index_t left = block - r < Simd<double>::lanes ? block - r : Simd<double>::lanes;
      const VecD value = load_partial<double>(distance + r, left, 0.0) +
                         log1p<double>(load_partial<double>(others + r, left, 0.0));
      store_partial<double>(loss + first + r, value, left);
    }
  }
}

// dx = y (dout - sum of y dout)
template <class T>
void softmax_backward_rows(const T* y, const T* dout, T* dx, index_t rows, index_t cols) {
  for (index_t r = 0; r < rows; ++r, y += cols, dout += cols, dx += cols) {
    Lanes<double> sum{};
    for (index_t i = 0; i < cols; i += kLanes) {
      Lanes<T> product = load_lanes<T>(y + i, cols - i, T{0});
      const Lanes<T> d = load_lanes<T>(dout + i, cols - i, T{0});
      for (int j = 0; j < kParts<T>; ++j) product.part[j] *= d.part[j];
      add_lanes(sum, product);
    }
    const Vec<T> total = broadcast<T>(static_cast<T>(sum_lanes(sum)));
    for (index_t i = 0; i < cols; i += kLanes) {
      Lanes<T> out = load_lanes<T>(y + i, cols - i, T{0});
      const Lanes<T> d = load_lanes<T>(dout + i, cols - i, T{0});
      for (int j = 0; j < kParts<T>; ++j) out.part[j] *= d.part[j] - total;
      store_lanes<T>(dx + i, out, cols - i);
    }
  }
}

template <class T>
void softmax_loss_backward_rows(const T* y, const std::int64_t* t, T factor, T* dx, index_t rows,
                                index_t cols) {
  constexpr int kVector = Simd<T>::lanes;
  const Vec<T> f = broadcast<T>(factor);
  const index_t n = rows * cols;
  index_t i = 0;
  for (; i + kVector <= n; i += kVector) store<T>(dx + i, load<T>(y + i) * f);
  if (i < n) store_partial<T>(dx + i, load_partial<T>(y + i, n - i, T{0}) * f, n - i);
  for (index_t r = 0; r < rows; ++r) {
    dx[r * cols + t[r]] = (y[r * cols + t[r]] - T{1}) * factor;
  }
}

// loss = max(x, 0) - x t + log(1 + e^-|x|), for t = 1 the softplus of -x and for t = 0 that of x.
template <class T>
void sigmoid_loss_array(const T* x, const T* t, T* y, double* loss, index_t n) {
  constexpr int kVector = Simd<T>::lanes;
  const Vec<T> zero{};
  for (index_t i = 0; i < n; i += kVector) {
    const index_t left = n - i < kVector ? n - i : kVector;
    const Vec<T> v = load_partial<T>(x + i, left, T{0});
    const Vec<T> target = load_partial<T>(t + i, left, T{0});
    // |x| times the share of the other class: 1 - t for x > 0, t else. Nothing times an infinite
    // score is nothing: a certain answer that is right costs nothing.
    const Vec<T> share = v > zero ? broadcast<T>(T{1}) - target : target;
    const Vec<T> linear = share == zero ? zero : absolute<T>(v) * share;
    const Vec<T> tail = log1p<T>(exp<T>(-absolute<T>(v)));
    store_partial<T>(y + i, sigmoid<T>(v), left);
    for (index_t j = 0; j < left; ++j) {
      loss[i + j] = static_cast<double>(linear[j]) + static_cast<double>(tail[j]);
    }
  }
}

template <class T>
void sigmoid_loss_backward_array(const T* y, const T* t, T factor, T* dx, index_t n) {
  for (index_t i = 0; i < n; ++i) dx[i] = (y[i] - t[i]) * factor;
}

}  // namespace
}  // namespace NNEXT_SIMD
}  // namespace nnext
