// Softmax with loss along rows of scores, in place, with all of its options; see
// nnext/cross_entropy.h for the formulas. Without options the bits are those of softmax.h.
//
// A row is passed over while it lies in the second-level cache: once for its maximum, once for the
// exponentials (which take the scores' place unless these are needed again), once for the result.
#pragma once

#include "kernels/softmax.h"

namespace nnext {
namespace NNEXT_SIMD {
namespace {

template <class T>
NNEXT_INLINE T scalar_exp_difference(T x, T m) {
  return exp_difference<T>(broadcast<T>(x), broadcast<T>(m))[0];
}

NNEXT_INLINE double scalar_log1p(double x) { return log1p<double>(broadcast<double>(x))[0]; }

// x = cap tanh(x / cap)
template <class T>
void softcap_array(T* x, index_t n, T cap) {
  const Vec<T> limit = broadcast<T>(cap);
  for (index_t i = 0; i < n; i += kLanes) {
    Lanes<T> v = load_lanes<T>(x + i, n - i, T{0});
    for (int j = 0; j < kParts<T>; ++j) {
      const Vec<T> score = flushed<T>(v.part[j]);
      const Vec<T> u = score / limit;
      // What is so small is its own capped value, though the quotient counts as 0.
      v.part[j] = magnitude_bits<T>(u) < Normal<T>::kBits ? score : limit * tanh<T>(u);
    }
    store_lanes<T>(x + i, v, n - i);
  }
}

// The product of `weight` and `soft` from element i on, where a null one is 1.
template <class T>
NNEXT_INLINE Lanes<T> product_lanes(const T* weight, const T* soft, index_t i, index_t left) {
  if (weight == nullptr) return load_lanes<T>(soft + i, left, T{0});
  Lanes<T> w = load_lanes<T>(weight + i, left, T{0});
  if (soft == nullptr) return w;
  const Lanes<T> q = load_lanes<T>(soft + i, left, T{0});
  for (int j = 0; j < kParts<T>; ++j) w.part[j] *= q.part[j];
  return w;
}

// The sum of weight soft (m - x), where a null one is 1. A class of weight 0 adds nothing, however
// far away it is.
template <class T>
NNEXT_INLINE double weighted_distances(const T* x, index_t n, T m, const T* weight, const T* soft) {
  const Vec<T> most = broadcast<T>(m);
  Lanes<double> sum{};
  for (index_t i = 0; i < n; i += kLanes) {
    Lanes<T> d = load_lanes<T>(x + i, n - i, m);
    for (int j = 0; j < kParts<T>; ++j) d.part[j] = most - d.part[j];
    if (weight != nullptr || soft != nullptr) {
      const Lanes<T> w = product_lanes<T>(weight, soft, i, n - i);
      for (int j = 0; j < kParts<T>; ++j) {
        const IntVec<T> is_zero = w.part[j] == Vec<T>{};
        d.part[j] = is_zero ? Vec<T>{} : w.part[j] * d.part[j];
      }
    }
    add_lanes(sum, d);
  }
  return sum_lanes(sum);
}

// The sum of weight soft: what a soft row counts.
template <class T>
NNEXT_INLINE double soft_weight(const T* weight, const T* soft, index_t n) {
  Lanes<double> sum{};
  for (index_t i = 0; i < n; i += kLanes) {
    add_lanes(sum, product_lanes<T>(weight, soft, i, n - i));
  }
  return sum_lanes(sum);
}

// What the elements of a row become: y = e inverse, and for a gradient
// (y scale - smooth weight - hard weight soft) (1 - (x / cap)^2).
template <class T>
struct RowGradient {
  Factor<T> inverse;
  Factor<T> scale;
  Factor<T> smooth;
  Factor<T> hard;
  const T* weight;  // null: 1 for every class
  const T* soft;    // null: the label's element is computed apart
  Vec<T> cap;
};

// Targets: whether anything is taken off y scale here.
template <class T, bool Targets>
NNEXT_INLINE Lanes<T> gradient_lanes(Lanes<T> e, index_t i, index_t left, const RowGradient<T>& g) {
  Lanes<T> w{};
  Lanes<T> q{};
  if (Targets && g.weight != nullptr) w = load_lanes<T>(g.weight + i, left, T{0});
  if (Targets && g.soft != nullptr) q = product_lanes<T>(g.weight, g.soft, i, left);
  for (int j = 0; j < kParts<T>; ++j) {
    e.part[j] = times<T>(times<T>(e.part[j], g.inverse), g.scale);
    if constexpr (Targets) {
      e.part[j] -= g.weight != nullptr ? times<T>(w.part[j], g.smooth) : g.smooth.value;
      if (g.soft != nullptr) e.part[j] -= times<T>(q.part[j], g.hard);
      e.part[j] = flushed<T>(e.part[j]);
    }
  }
  return e;
}

// With Capped `from` holds the row's scores, else their exponentials (or, with inverse 1, y). It
// may be the row itself.
template <class T, bool Targets, bool Capped>
NNEXT_INLINE void gradient_row(const T* from, T* row, index_t n, T m, const RowGradient<T>& g) {
  const Vec<T> most = broadcast<T>(m);
  for (index_t i = 0; i < n; i += kLanes) {
    const index_t left = n - i;
    if constexpr (Capped) {
      const Lanes<T> x = load_lanes<T>(from + i, left, m);
      Lanes<T> d = x;
      for (int j = 0; j < kParts<T>; ++j) d.part[j] = exp_difference<T>(x.part[j], most);
      d = gradient_lanes<T, Targets>(d, i, left, g);
      for (int j = 0; j < kParts<T>; ++j) {
        const Vec<T> u = flushed<T>(x.part[j]) / g.cap;
        d.part[j] = product<T>(d.part[j], broadcast<T>(T{1}) - squared<T>(u));
      }
      store_lanes<T>(row + i, d, left);
    } else {
      const Lanes<T> e = load_lanes<T>(from + i, left, T{0});
      store_lanes<T>(row + i, gradient_lanes<T, Targets>(e, i, left, g), left);
    }
  }
}

// The gradient at the label itself, from its probability y and capped score x. Computed so that
// nothing cancels where y is near 1; without smoothing and z loss as softmax_loss_backward does.
template <class T>
NNEXT_INLINE T label_gradient(const LossTerms<T>& terms, T y, T x, double factor, double weight,
                              double lse, index_t cols) {
  T gradient;
  if (terms.smoothing == 0 && terms.z_loss == 0) {
    gradient = (y - T{1}) * static_cast<T>(factor * weight);
  } else {
    const auto p = static_cast<double>(y);
    double sum = (1 - terms.smoothing) * weight * static_cast<double>(y - T{1});
    sum += terms.smoothing / static_cast<double>(cols) * (terms.weight_sum * p - weight);
    sum += 2 * terms.z_loss * lse * p;
    gradient = static_cast<T>(factor * sum);
  }
  if (terms.softcap != 0) {
    const T u = x / terms.softcap;
    gradient *= T{1} - u * u;
  }
  return flushed<T>(broadcast<T>(gradient))[0];
}

// What a row's label or soft row has to do with its loss and gradient.
template <class T>
struct RowTarget {
  index_t label;  // negative for a soft row
  const T* soft;
  double weight;  // of the label's class, or of the soft row

  NNEXT_INLINE RowTarget(const RowLabels<T>& labels, index_t r, const LossTerms<T>& terms,
                         index_t cols)
      : label(static_cast<index_t>(labels.index[r])),
        soft(labels.soft != nullptr ? labels.soft[r] : nullptr),
        weight(1) {
    if (soft != nullptr) {
      weight = soft_weight<T>(terms.class_weight, soft, cols);
    } else if (terms.class_weight != nullptr) {
      weight = static_cast<double>(terms.class_weight[label]);
    }
  }
};

template <class T>
NNEXT_INLINE RowGradient<T> row_gradient(const LossTerms<T>& terms, const RowTarget<T>& target,
                                         const Factor<T>& inverse, double factor, double lse,
                                         index_t cols) {
  const double share = terms.smoothing / static_cast<double>(cols);
  double scale = factor * target.weight;
  if (terms.smoothing != 0 || terms.z_loss != 0) {
    scale = factor * ((1 - terms.smoothing) * target.weight + share * terms.weight_sum +
                      2 * terms.z_loss * lse);
  }
  return {inverse,
          Factor<T>(static_cast<T>(scale)),
          Factor<T>(static_cast<T>(factor * share)),
          Factor<T>(static_cast<T>(factor * (1 - terms.smoothing))),
          terms.class_weight,
          target.soft,
          broadcast<T>(terms.softcap)};
}

// One row; the loss is returned. factor is that of the gradient.
template <class T>
NNEXT_INLINE double cross_entropy_row(T* row, index_t n, const RowTarget<T>& target,
                                      const LossTerms<T>& terms, double factor, RowResult result) {
  if (terms.softcap != 0) softcap_array<T>(row, n, terms.softcap);
  const T m = row_maximum<T>(row, n);
  const T x = target.soft != nullptr ? m : row[target.label];
  const bool keeps_scores =
      result == RowResult::kLoss || (result == RowResult::kGradient && terms.softcap != 0);
  const double distances =
      terms.smoothing != 0 ? weighted_distances<T>(row, n, m, terms.class_weight, nullptr) : 0.0;
  const double soft_distances =
      target.soft != nullptr ? weighted_distances<T>(row, n, m, terms.class_weight, target.soft)
                             : 0.0;
  const double others = keeps_scores ? sum_of_others<T, false>(row, row, n, m)
                                     : sum_of_others<T, true>(row, row, n, m);
  const double log_sum = scalar_log1p(others);  // of e^(x - m)
  const double lse = static_cast<double>(m) + log_sum;
  const double weight = target.weight;

  double loss = 0;
  if (target.soft != nullptr) {
    loss = (1 - terms.smoothing) * (soft_distances + weight * log_sum);
  } else if (weight != 0) {
    loss = (static_cast<double>(m) - static_cast<double>(x)) + log_sum;
    if (terms.smoothing != 0 || weight != 1) loss *= (1 - terms.smoothing) * weight;
  }
  if (terms.smoothing != 0) {
    loss += terms.smoothing / static_cast<double>(n) * (distances + terms.weight_sum * log_sum);
  }
  if (terms.z_loss != 0) loss += terms.z_loss * (lse * lse);
  if (result == RowResult::kLoss) return loss;

  const Factor<T> inverse = probability_factor<T>(others);
  if (result == RowResult::kProbabilities) {
    scale_row<T>(row, n, inverse);
    return loss;
  }
  T y{};
  if (target.soft == nullptr) {
    const T e = keeps_scores ? scalar_exp_difference<T>(x, m) : row[target.label];
    y = probability<T>(broadcast<T>(e), inverse)[0];
  }
  const RowGradient<T> g = row_gradient<T>(terms, target, inverse, factor, lse, n);
  const bool has_targets = terms.smoothing != 0 || target.soft != nullptr;
  if (terms.softcap != 0) {
    has_targets ? gradient_row<T, true, true>(row, row, n, m, g)
                : gradient_row<T, false, true>(row, row, n, m, g);
  } else {
    has_targets ? gradient_row<T, true, false>(row, row, n, m, g)
                : gradient_row<T, false, false>(row, row, n, m, g);
  }
  if (target.soft == nullptr) {
    row[target.label] = label_gradient<T>(terms, y, x, factor, weight, lse, n);
  }
  return loss;
}

template <class T>
void cross_entropy_rows(T* scores, index_t row_stride, index_t rows, index_t cols,
                        const RowLabels<T>& labels, const LossTerms<T>& terms, const double* factor,
                        RowResult result, double* loss) {
  for (index_t r = 0; r < rows; ++r) {
    const RowTarget<T> target(labels, r, terms, cols);
    loss[r] = cross_entropy_row<T>(scores + r * row_stride, cols, target, terms,
                                   factor != nullptr ? factor[r] : 0.0, result);
  }
}

// The gradient from the probabilities: the bits of kGradient above, whose y these are.
template <class T>
void cross_entropy_backward_rows(const T* y, T* dx, index_t rows, index_t cols,
                                 const RowLabels<T>& labels, const LossTerms<T>& terms,
                                 const double* factor) {
  for (index_t r = 0; r < rows; ++r, y += cols, dx += cols) {
    const RowTarget<T> target(labels, r, terms, cols);
    const RowGradient<T> g = row_gradient<T>(terms, target, Factor<T>(T{1}), factor[r], 0.0, cols);
    const T at_label = target.soft == nullptr ? y[target.label] : T{0};
    if (terms.smoothing != 0 || target.soft != nullptr) {
      gradient_row<T, true, false>(y, dx, cols, T{0}, g);
    } else {
      gradient_row<T, false, false>(y, dx, cols, T{0}, g);
    }
    if (target.soft == nullptr) {
      dx[target.label] =
          label_gradient<T>(terms, at_label, T{0}, factor[r], target.weight, 0.0, cols);
    }
  }
}

}  // namespace
}  // namespace NNEXT_SIMD
}  // namespace nnext
