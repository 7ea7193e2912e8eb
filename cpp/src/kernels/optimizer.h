// One step of each optimizer, element by element. Products and sums are rounded one by one, as the
// book's NumPy code rounds them, so that both give the same bits.
#pragma once

#include "kernels/simd.h"

namespace nnext {
namespace NNEXT_SIMD {
namespace {

// Calls step(i, count) for the whole vectors and the partial last one of n elements.
template <class T, class Step>
NNEXT_INLINE void for_each_vector(index_t n, const Step& step) {
  constexpr int kVector = Simd<T>::lanes;
  for (index_t i = 0; i < n; i += kVector) step(i, n - i < kVector ? n - i : kVector);
}
template <class T>
NNEXT_INLINE Vec<T> load_some(const T* p, index_t n) {
  return n == Simd<T>::lanes ? load<T>(p) : load_partial<T>(p, n, T{0});
}
template <class T>
NNEXT_INLINE void store_some(T* p, Vec<T> v, index_t n) {
  if (n == Simd<T>::lanes) {
    store<T>(p, v);
  } else {
    store_partial<T>(p, v, n);
  }
}

template <class T>
void sgd_step(T* p, const T* g, index_t n, const StepScalars<T>& s) {
  const Vec<T> lr = broadcast<T>(s.lr);
  for_each_vector<T>(n, [&](index_t i, index_t count) NNEXT_LAMBDA {
    store_some<T>(p + i, load_some<T>(p + i, count) - lr * load_some<T>(g + i, count), count);
  });
}

// v = a v - lr g; p += v
template <class T>
void momentum_step(T* p, const T* g, T* v, index_t n, const StepScalars<T>& s) {
  const Vec<T> lr = broadcast<T>(s.lr);
  const Vec<T> momentum = broadcast<T>(s.a);
  for_each_vector<T>(n, [&](index_t i, index_t count) NNEXT_LAMBDA {
    const Vec<T> velocity = momentum * load_some<T>(v + i, count) - lr * load_some<T>(g + i, count);
    store_some<T>(v + i, velocity, count);
    store_some<T>(p + i, load_some<T>(p + i, count) + velocity, count);
  });
}

// p += a^2 v; p -= (1 + a) lr g; v = a v - lr g, with b = a^2 and eps = (1 + a) lr. The book takes
// the new v for the old one in the first of these.
template <class T, bool Book>
void nesterov_step(T* p, const T* g, T* v, index_t n, const StepScalars<T>& s) {
  const Vec<T> lr = broadcast<T>(s.lr);
  const Vec<T> momentum = broadcast<T>(s.a);
  const Vec<T> squared = broadcast<T>(s.b);
  const Vec<T> ahead = broadcast<T>(s.eps);
  for_each_vector<T>(n, [&](index_t i, index_t count) NNEXT_LAMBDA {
    const Vec<T> gradient = load_some<T>(g + i, count);
    const Vec<T> old = load_some<T>(v + i, count);
    const Vec<T> velocity = momentum * old - lr * gradient;
    store_some<T>(v + i, velocity, count);
    const Vec<T> moved = load_some<T>(p + i, count) + squared * (Book ? velocity : old);
    store_some<T>(p + i, moved - ahead * gradient, count);
  });
}

// h += g g; p -= lr g / (sqrt(h) + eps)
template <class T>
void adagrad_step(T* p, const T* g, T* h, index_t n, const StepScalars<T>& s) {
  const Vec<T> lr = broadcast<T>(s.lr);
  const Vec<T> eps = broadcast<T>(s.eps);
  for_each_vector<T>(n, [&](index_t i, index_t count) NNEXT_LAMBDA {
    const Vec<T> gradient = load_some<T>(g + i, count);
    const Vec<T> squares = load_some<T>(h + i, count) + gradient * gradient;
    store_some<T>(h + i, squares, count);
    store_some<T>(p + i, load_some<T>(p + i, count) - lr * gradient / (square_root(squares) + eps),
                  count);
  });
}

// h = a h + b g g with b = 1 - a; p -= lr g / (sqrt(h) + eps)
template <class T>
void rmsprop_step(T* p, const T* g, T* h, index_t n, const StepScalars<T>& s) {
  const Vec<T> lr = broadcast<T>(s.lr);
  const Vec<T> decay_rate = broadcast<T>(s.a);
  const Vec<T> rest = broadcast<T>(s.b);
  const Vec<T> eps = broadcast<T>(s.eps);
  for_each_vector<T>(n, [&](index_t i, index_t count) NNEXT_LAMBDA {
    const Vec<T> gradient = load_some<T>(g + i, count);
    const Vec<T> squares = load_some<T>(h + i, count) * decay_rate + rest * gradient * gradient;
    store_some<T>(h + i, squares, count);
    store_some<T>(p + i, load_some<T>(p + i, count) - lr * gradient / (square_root(squares) + eps),
                  count);
  });
}

// The mean of `old` and `now` that gives the old one the weight beta, with `weight` 1 - beta or, if
// `is_beta`, beta: begun at the one that weighs more, since the sum cannot hold more of the other
// than its weight. (old + 1 (now - old) would be 0 for a small number after a large one.)
template <class T>
NNEXT_INLINE Vec<T> running_mean(Vec<T> old, Vec<T> now, Vec<T> weight, bool is_beta) {
  return is_beta ? now + weight * (old - now) : old + weight * (now - old);
}

// m += a (g - m); v += b (g^2 - v); p = keep p - lr m / (sqrt(v) v_scale + eps), with a = 1 - beta1
// and b = 1 - beta2; or m = g + a (m - g) with a = beta1, and v likewise, where the scalars say so
template <class T>
void adam_step(T* p, const T* g, T* m, T* v, index_t n, const StepScalars<T>& s) {
  const Vec<T> lr = broadcast<T>(s.lr);
  const Vec<T> a = broadcast<T>(s.a);
  const Vec<T> b = broadcast<T>(s.b);
  const Vec<T> eps = broadcast<T>(s.eps);
  const Vec<T> v_scale = broadcast<T>(s.v_scale);
  const Vec<T> keep = broadcast<T>(s.keep);
  for_each_vector<T>(n, [&](index_t i, index_t count) NNEXT_LAMBDA {
    const Vec<T> gradient = load_some<T>(g + i, count);
    const Vec<T> mean = running_mean<T>(load_some<T>(m + i, count), gradient, a, s.a_is_beta);
    const Vec<T> square =
        running_mean<T>(load_some<T>(v + i, count), gradient * gradient, b, s.b_is_beta);
    store_some<T>(m + i, mean, count);
    store_some<T>(v + i, square, count);
    Vec<T> parameter = load_some<T>(p + i, count) * keep;
    parameter -= lr * mean / (square_root(square) * v_scale + eps);
    store_some<T>(p + i, parameter, count);
  });
}

}  // namespace
}  // namespace NNEXT_SIMD
}  // namespace nnext
