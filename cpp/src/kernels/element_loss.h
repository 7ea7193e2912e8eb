// Losses of single scores and their gradients; see nnext/element_loss.h for the formulas.
//
// A kind says what a vector of scores x and targets t loses, as two terms that a row's sum takes
// one by one (so that a small one beside a large one is not rounded off), what it predicts, and the
// slope of the loss by the score, from prediction and target.
#pragma once

#include "kernels/lanes.h"
#include "kernels/math.h"

namespace nnext {
namespace NNEXT_SIMD {
namespace {

template <class T>
struct ScoreLoss {
  Vec<T> prediction;
  Vec<T> loss;
  Vec<T> more;  // of the loss, where the kind has kTwoTerms
};

// x^2 / 2 where that is normal.
template <class T>
NNEXT_INLINE Vec<T> half_square(Vec<T> x) {
  const Vec<T> large = at_least<T>(x, bits(broadcast<T>(2 * Normal<T>::kRootOfLeast)));
  return broadcast<T>(T{0.5}) * large * large;
}

// x - t without a number below the smallest normal one.
template <class T>
NNEXT_INLINE Vec<T> difference(Vec<T> x, Vec<T> t) {
  return flushed<T>(flushed<T>(x) - flushed<T>(t));
}

template <class T>
struct Squared {
  static constexpr bool kTwoTerms = false;
  static constexpr T kNothing = 0;  // a score that loses nothing at the target 0
  explicit NNEXT_INLINE Squared(const ElementLoss<T>&) {}
  NNEXT_INLINE ScoreLoss<T> loss(Vec<T> x, Vec<T> t, Vec<T>) const {
    return {flushed<T>(x), squared<T>(difference<T>(x, t)), Vec<T>{}};
  }
  NNEXT_INLINE Vec<T> slope(Vec<T> y, Vec<T> t, Vec<T>) const {
    const Vec<T> d = difference<T>(y, t);
    return d + d;
  }
};

template <class T>
struct Absolute {
  static constexpr bool kTwoTerms = false;
  static constexpr T kNothing = 0;
  explicit NNEXT_INLINE Absolute(const ElementLoss<T>&) {}
  NNEXT_INLINE ScoreLoss<T> loss(Vec<T> x, Vec<T> t, Vec<T>) const {
    return {flushed<T>(x), absolute<T>(difference<T>(x, t)), Vec<T>{}};
  }
  NNEXT_INLINE Vec<T> slope(Vec<T> y, Vec<T> t, Vec<T>) const {
    const Vec<T> d = difference<T>(y, t);
    const Vec<T> one = broadcast<T>(T{1});
    return d > Vec<T>{} ? one : (d < Vec<T>{} ? -one : d);
  }
};

template <class T>
struct Huber {
  static constexpr bool kTwoTerms = false;
  static constexpr T kNothing = 0;
  Vec<T> delta;
  explicit NNEXT_INLINE Huber(const ElementLoss<T>& l) : delta(broadcast<T>(l.delta)) {}
  NNEXT_INLINE ScoreLoss<T> loss(Vec<T> x, Vec<T> t, Vec<T>) const {
    const Vec<T> d = difference<T>(x, t);
    const Vec<T> size = absolute<T>(d);
    const Vec<T> straight = product<T>(size - broadcast<T>(T{0.5}) * delta, delta);
    // Where it is straight the square is not taken: it may overflow.
    const Vec<T> curved = half_square<T>(minimum(delta, size));
    return {flushed<T>(x), size > delta ? straight : curved, Vec<T>{}};
  }
  NNEXT_INLINE Vec<T> slope(Vec<T> y, Vec<T> t, Vec<T>) const {
    return maximum(-delta, minimum(delta, difference<T>(y, t)));
  }
};

template <class T>
struct Poisson {
  static constexpr bool kTwoTerms = true;
  static constexpr T kNothing = -1000;  // e^x = 0
  explicit NNEXT_INLINE Poisson(const ElementLoss<T>&) {}
  NNEXT_INLINE ScoreLoss<T> loss(Vec<T> x, Vec<T> t, Vec<T>) const {
    const Vec<T> y = exp<T>(x);
    const Vec<T> linear = product<T>(t, flushed<T>(x));
    const IntVec<T> is_free = (t == Vec<T>{}) | (y == infinity<T>());
    return {y, y, is_free ? Vec<T>{} : -linear};
  }
  NNEXT_INLINE Vec<T> slope(Vec<T> y, Vec<T> t, Vec<T>) const { return difference<T>(y, t); }
};

// With w the weight of the positive class: |x| times what the wrong side of 0 costs, 1 - t for x >
// 0 and w t else, and log(1 + e^-|x|) times 1 + (w - 1) t, which is 1 without a weight.
template <class T, bool IsWeighted>
struct Binary {
  static constexpr bool kTwoTerms = true;
  static constexpr T kNothing = -1000;
  explicit NNEXT_INLINE Binary(const ElementLoss<T>&) {}
  NNEXT_INLINE ScoreLoss<T> loss(Vec<T> x, Vec<T> target, Vec<T> w) const {
    const Vec<T> zero{};
    const Vec<T> one = broadcast<T>(T{1});
    const Vec<T> v = flushed<T>(x);
    const Vec<T> t = flushed<T>(target);
    const Vec<T> size = absolute<T>(v);
    const Vec<T> positive = IsWeighted ? product<T>(t, w) : t;
    const Vec<T> share = v > zero ? one - t : positive;
    const Vec<T> linear = share == zero ? zero : product<T>(size, share);
    Vec<T> tail = log1p<T>(exp<T>(-size));
    if constexpr (IsWeighted) {
      const Vec<T> both = (one - t) + positive;
      tail = both == zero ? zero : product<T>(tail, both);
    }
    return {sigmoid<T>(v), linear, tail};
  }
  NNEXT_INLINE Vec<T> slope(Vec<T> y, Vec<T> target, Vec<T> w) const {
    const Vec<T> t = flushed<T>(target);
    if constexpr (!IsWeighted) return flushed<T>(y - t);
    const Vec<T> one = broadcast<T>(T{1});
    const Vec<T> positive = product<T>(t, w);
    return flushed<T>(product<T>(y, one - t) - product<T>(positive, one - y));
  }
};

template <class T, class K>
NNEXT_INLINE void add_loss(const K& kind, Lanes<double>& sum, const T* x, const T* t,
                           const Lanes<T>& weight, T* y, index_t left) {
  const Lanes<T> scores = load_lanes<T>(x, left, K::kNothing);
  const Lanes<T> targets = load_lanes<T>(t, left, T{0});
  Lanes<T> predictions;
  Lanes<T> loss;
  Lanes<T> more;
  for (int j = 0; j < kParts<T>; ++j) {
    const ScoreLoss<T> of = kind.loss(scores.part[j], targets.part[j], weight.part[j]);
    predictions.part[j] = of.prediction;
    loss.part[j] = of.loss;
    more.part[j] = of.more;
  }
  add_lanes(sum, loss);
  if constexpr (K::kTwoTerms) add_lanes(sum, more);
  store_lanes<T>(y, predictions, left);
}

// Rows of one score are taken as one row, of which each 16 lanes are sums.
template <class T, class K>
NNEXT_INLINE void loss_of_rows(const K& kind, const ElementLoss<T>& l, const T* x, const T* t, T* y,
                               index_t rows, index_t cols, double* loss) {
  const bool is_single = cols == 1;
  const index_t n = is_single ? rows : cols;
  const bool has_weights = l.positive_weight != nullptr;
  const T same = is_single && has_weights ? l.positive_weight[0] : T{1};
  Lanes<T> weight;
  for (Vec<T>& part : weight.part) part = broadcast<T>(same);
  for (index_t r = 0; r < rows; r += is_single ? rows : 1, x += n, t += n, y += n) {
    Lanes<double> sum{};
    for (index_t i = 0; i < n; i += kLanes) {
      if (has_weights && !is_single) weight = load_lanes<T>(l.positive_weight + i, n - i, T{1});
      add_loss<T>(kind, sum, x + i, t + i, weight, y + i, n - i);
      if (!is_single) continue;
      for (VecD& part : sum.part) part /= l.divisor;
      store_lanes<double>(loss + i, sum, n - i);
      sum = {};
    }
    if (!is_single) loss[r] = sum_lanes(sum) / l.divisor;
  }
}

template <class T, class K>
NNEXT_INLINE void slopes_of_rows(const K& kind, const ElementLoss<T>& l, const T* y, const T* t,
                                 const double* factor, T* dx, index_t rows, index_t cols) {
  const Vec<T> zero{};
  const index_t together = cols == 1 ? Simd<T>::lanes : 1;  // rows of one score in one vector
  for (index_t r = 0; r < rows; r += together) {
    const index_t count = rows - r < together ? rows - r : together;
    Vec<T> f{};
    if (cols == 1) {
      T factors[Simd<T>::lanes] = {};
      for (index_t i = 0; i < count; ++i) factors[i] = static_cast<T>(factor[r + i] / l.divisor);
      f = load<T>(factors);
    } else {
      f = broadcast<T>(static_cast<T>(factor[r] / l.divisor));
    }
    f = flushed<T>(f);
    const index_t at = r * cols;
    const index_t n = count * cols;
    for (index_t i = 0; i < n; i += Simd<T>::lanes) {
      const index_t left = n - i < Simd<T>::lanes ? n - i : Simd<T>::lanes;
      Vec<T> w = broadcast<T>(T{1});
      if (l.positive_weight != nullptr) {
        w = cols == 1 ? broadcast<T>(l.positive_weight[0])
                      : load_partial<T>(l.positive_weight + i, left, T{1});
      }
      const Vec<T> slope = kind.slope(load_partial<T>(y + at + i, left, T{0}),
                                      load_partial<T>(t + at + i, left, T{0}), w);
      store_partial<T>(dx + at + i, f == zero ? zero : product<T>(slope, f), left);
    }
  }
}

// Calls f(kind) for the kind of a loss.
template <class T, class F>
NNEXT_INLINE void with_kind(const ElementLoss<T>& l, const F& f) {
  switch (l.kind) {
    case LossKind::kSquared:
      return f(Squared<T>(l));
    case LossKind::kAbsolute:
      return f(Absolute<T>(l));
    case LossKind::kHuber:
      return f(Huber<T>(l));
    case LossKind::kPoisson:
      return f(Poisson<T>(l));
    case LossKind::kBinary:
      if (l.positive_weight == nullptr) return f(Binary<T, false>(l));
      return f(Binary<T, true>(l));
  }
}

template <class T>
void element_loss_rows(const ElementLoss<T>& l, const T* x, const T* t, T* y, index_t rows,
                       index_t cols, double* loss) {
  with_kind<T>(l, [&](const auto& kind)
                      NNEXT_LAMBDA { loss_of_rows<T>(kind, l, x, t, y, rows, cols, loss); });
}

template <class T>
void element_loss_backward_rows(const ElementLoss<T>& l, const T* y, const T* t,
                                const double* factor, T* dx, index_t rows, index_t cols) {
  with_kind<T>(l, [&](const auto& kind)
                      NNEXT_LAMBDA { slopes_of_rows<T>(kind, l, y, t, factor, dx, rows, cols); });
}

}  // namespace
}  // namespace NNEXT_SIMD
}  // namespace nnext
