// One step of each optimizer, element by element. Products and sums are rounded one by one, as the
// book's NumPy code rounds them, so that both give the same bits, but where a number is not normal:
// what is kept from step to step is flushed (small.h), so that no step begins with such a number.
// p is multiplied by `keep` first, by 1 exactly where no weight decays.
#pragma once

#include "kernels/small.h"

namespace nnext {
namespace NNEXT_SIMD {
namespace {

template <class T>
void sgd_step(T* p, const T* g, index_t n, const StepScalars<T>& s) {
  const Factor<T> lr(s.lr);
  const Vec<T> keep = broadcast<T>(s.keep);
  for_each_vector<T>(n, [&](index_t i, index_t count) NNEXT_LAMBDA {
    const Vec<T> step = times<T>(load_some<T>(g + i, count), lr);
    store_some<T>(p + i, flushed<T>(load_some<T>(p + i, count) * keep - step), count);
  });
}

// v = a v - lr g; p += v
template <class T>
void momentum_step(T* p, const T* g, T* v, index_t n, const StepScalars<T>& s) {
  const Factor<T> lr(s.lr);
  const Vec<T> momentum = broadcast<T>(s.a);
  const Vec<T> keep = broadcast<T>(s.keep);
  for_each_vector<T>(n, [&](index_t i, index_t count) NNEXT_LAMBDA {
    const Vec<T> step = times<T>(load_some<T>(g + i, count), lr);
    const Vec<T> velocity = flushed<T>(momentum * load_some<T>(v + i, count) - step);
    store_some<T>(v + i, velocity, count);
    store_some<T>(p + i, flushed<T>(load_some<T>(p + i, count) * keep + velocity), count);
  });
}

// p += a^2 v; p -= (1 + a) lr g; v = a v - lr g, with b = a^2 and eps = (1 + a) lr. The book takes
// the new v for the old one in the first of these.
template <class T, bool Book>
void nesterov_step(T* p, const T* g, T* v, index_t n, const StepScalars<T>& s) {
  const Factor<T> lr(s.lr);
  const Vec<T> momentum = broadcast<T>(s.a);
  const Vec<T> momentum_squared = broadcast<T>(s.b);
  const Factor<T> ahead(s.eps);
  const Vec<T> keep = broadcast<T>(s.keep);
  for_each_vector<T>(n, [&](index_t i, index_t count) NNEXT_LAMBDA {
    const Vec<T> gradient = load_some<T>(g + i, count);
    const Vec<T> old = load_some<T>(v + i, count);
    const Vec<T> velocity = flushed<T>(momentum * old - times<T>(gradient, lr));
    store_some<T>(v + i, velocity, count);
    const Vec<T> moved =
        load_some<T>(p + i, count) * keep + momentum_squared * (Book ? velocity : old);
    store_some<T>(p + i, flushed<T>(moved - times<T>(gradient, ahead)), count);
  });
}

// h += g g; p -= lr g / (sqrt(h) + eps)
template <class T>
void adagrad_step(T* p, const T* g, T* h, index_t n, const StepScalars<T>& s) {
  const Vec<T> lr = broadcast<T>(s.lr);
  const Vec<T> eps = broadcast<T>(s.eps);
  const Vec<T> keep = broadcast<T>(s.keep);
  for_each_vector<T>(n, [&](index_t i, index_t count) NNEXT_LAMBDA {
    const Vec<T> gradient = load_some<T>(g + i, count);
    const Vec<T> squares = load_some<T>(h + i, count) + squared<T>(gradient);
    store_some<T>(h + i, squares, count);
    const Vec<T> step = lr * flushed<T>(gradient) / (square_root(squares) + eps);
    store_some<T>(p + i, flushed<T>(load_some<T>(p + i, count) * keep - step), count);
  });
}

// h = a h + b g g with b = 1 - a; p -= lr g / (sqrt(h) + eps)
template <class T>
void rmsprop_step(T* p, const T* g, T* h, index_t n, const StepScalars<T>& s) {
  const Vec<T> lr = broadcast<T>(s.lr);
  const Vec<T> decay_rate = broadcast<T>(s.a);
  const Vec<T> rest = broadcast<T>(s.b);
  // What is smaller has no normal square times the rest; rounded up.
  const auto root = static_cast<T>(__builtin_sqrt(static_cast<double>(s.b)));
  const Vec<T> least = broadcast<T>(Normal<T>::kRootOfLeast * T(1.0001) / root);
  const Vec<T> eps = broadcast<T>(s.eps);
  const Vec<T> keep = broadcast<T>(s.keep);
  for_each_vector<T>(n, [&](index_t i, index_t count) NNEXT_LAMBDA {
    const Vec<T> gradient = load_some<T>(g + i, count);
    const Vec<T> large = at_least<T>(gradient, bits(least));
    const Vec<T> squares =
        flushed<T>(load_some<T>(h + i, count) * decay_rate + rest * large * large);
    store_some<T>(h + i, squares, count);
    const Vec<T> step = lr * flushed<T>(gradient) / (square_root(squares) + eps);
    store_some<T>(p + i, flushed<T>(load_some<T>(p + i, count) * keep - step), count);
  });
}

// old + weight (now - old), the mean of `old` and `now` that gives the old one the weight beta,
// with `weight` 1 - beta; or, if `is_beta`, begun at the other end, with `weight` beta: at the one
// that weighs more, since the sum cannot hold more of the other than its weight. (old + 1 (now -
// old) would be 0 for a small number after a large one.)
template <class T, class Times>
NNEXT_INLINE Vec<T> running_mean(Vec<T> old, Vec<T> now, bool is_beta, const Times& weighed) {
  return is_beta ? now + weighed(old - now) : old + weighed(now - old);
}

// m += a (g - m); v += b (g^2 - v); p = keep p - lr m / (sqrt(v) v_scale + eps), with a = 1 - beta1
// and b = 1 - beta2; or m = g + a (m - g) with a = beta1, and v likewise, where the scalars say so.
// Where the gradient stays 0, m goes to 0 within some hundred steps; v, whose b is small, would
// take thousands near the smallest normal number, each with a product below it, and rests there.
template <class T>
void adam_step(T* p, const T* g, T* m, T* v, index_t n, const StepScalars<T>& s) {
  const Vec<T> lr = broadcast<T>(s.lr);
  const Vec<T> a = broadcast<T>(s.a);
  const Factor<T> b(s.b);
  const Vec<T> eps = broadcast<T>(s.eps);
  const Vec<T> v_scale = broadcast<T>(s.v_scale);
  const Vec<T> keep = broadcast<T>(s.keep);
  for_each_vector<T>(n, [&](index_t i, index_t count) NNEXT_LAMBDA {
    const Vec<T> gradient = load_some<T>(g + i, count);
    const Vec<T> mean =
        flushed<T>(running_mean<T>(load_some<T>(m + i, count), gradient, s.a_is_beta,
                                   [&](Vec<T> x) NNEXT_LAMBDA { return x * a; }));
    const Vec<T> square =
        running_mean<T>(load_some<T>(v + i, count), squared<T>(gradient), s.b_is_beta,
                        [&](Vec<T> x) NNEXT_LAMBDA { return times<T>(x, b); });
    store_some<T>(m + i, mean, count);
    store_some<T>(v + i, square, count);
    const Vec<T> step = lr * mean / (square_root(square) * v_scale + eps);
    store_some<T>(p + i, flushed<T>(load_some<T>(p + i, count) * keep - step), count);
  });
}

}  // namespace
}  // namespace NNEXT_SIMD
}  // namespace nnext
