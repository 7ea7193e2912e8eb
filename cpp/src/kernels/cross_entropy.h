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
NNEXT_INLINE void cap_row(T* x, index_t n, T cap) {
  const Vec<T> limit = broadcast<T>(cap);
  for (index_t i = 0; i < n; i += kLanes) {
    Lanes<T> v = load_lanes<T>(x + i, n - i, T{0});
    for (int j = 0; j < kParts<T>; ++j) v.part[j] = limit * tanh<T>(v.part[j] / limit);
    store_lanes<T>(x + i, v, n - i);
  }
}

// The sum of weight (m - x). A class of weight 0 adds nothing, however far away it is.
template <class T>
NNEXT_INLINE double weighted_distances(const T* x, index_t n, T m, const T* weight) {
  const Vec<T> most = broadcast<T>(m);
  Lanes<double> sum{};
  for (index_t i = 0; i < n; i += kLanes) {
    Lanes<T> d = load_lanes<T>(x + i, n - i, m);
    for (int j = 0; j < kParts<T>; ++j) d.part[j] = most - d.part[j];
    if (weight != nullptr) {
      const Lanes<T> w = load_lanes<T>(weight + i, n - i, T{0});
      for (int j = 0; j < kParts<T>; ++j) {
        const IntVec<T> is_zero = w.part[j] == Vec<T>{};
        d.part[j] = is_zero ? Vec<T>{} : w.part[j] * d.part[j];
      }
    }
    add_lanes(sum, d);
  }
  return sum_lanes(sum);
}

// What the elements of a row become: y = e inverse, and for a gradient
// (y scale - smooth weight) (1 - (x / cap)^2).
template <class T>
struct RowGradient {
  Vec<T> inverse;
  Vec<T> scale;
  Vec<T> smooth;
  const T* weight;  // null: 1 for every class
  Vec<T> cap;
};

template <class T, bool Smooth>
NNEXT_INLINE Lanes<T> gradient_lanes(Lanes<T> e, index_t i, index_t left, const RowGradient<T>& g) {
  Lanes<T> w{};
  if (Smooth && g.weight != nullptr) w = load_lanes<T>(g.weight + i, left, T{0});
  for (int j = 0; j < kParts<T>; ++j) {
    e.part[j] = (e.part[j] * g.inverse) * g.scale;
    if constexpr (Smooth) {
      e.part[j] -= g.weight != nullptr ? g.smooth * w.part[j] : g.smooth;
    }
  }
  return e;
}

// With Capped the row still holds its scores, else their exponentials.
template <class T, bool Smooth, bool Capped>
NNEXT_INLINE void gradient_row(T* row, index_t n, T m, const RowGradient<T>& g) {
  const Vec<T> most = broadcast<T>(m);
  for (index_t i = 0; i < n; i += kLanes) {
    const index_t left = n - i;
    if constexpr (Capped) {
      const Lanes<T> x = load_lanes<T>(row + i, left, m);
      Lanes<T> d = x;
      for (int j = 0; j < kParts<T>; ++j) d.part[j] = exp_difference<T>(x.part[j], most);
      d = gradient_lanes<T, Smooth>(d, i, left, g);
      for (int j = 0; j < kParts<T>; ++j) {
        const Vec<T> u = x.part[j] / g.cap;
        d.part[j] *= broadcast<T>(T{1}) - u * u;
      }
      store_lanes<T>(row + i, d, left);
    } else {
      const Lanes<T> e = load_lanes<T>(row + i, left, T{0});
      store_lanes<T>(row + i, gradient_lanes<T, Smooth>(e, i, left, g), left);
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
  if (terms.softcap == 0) return gradient;
  const T u = x / terms.softcap;
  return gradient * (T{1} - u * u);
}

// One row; the loss is returned. factor is that of the gradient.
template <class T>
NNEXT_INLINE double cross_entropy_row(T* row, index_t n, index_t label, const LossTerms<T>& terms,
                                      double factor, RowResult result) {
  if (terms.softcap != 0) cap_row<T>(row, n, terms.softcap);
  const T m = row_maximum<T>(row, n);
  const T x = row[label];
  const bool keeps_scores =
      result == RowResult::kLoss || (result == RowResult::kGradient && terms.softcap != 0);
  const double distances =
      terms.smoothing != 0 ? weighted_distances<T>(row, n, m, terms.class_weight) : 0.0;
  const double others = keeps_scores ? sum_of_others<T, false>(row, row, n, m)
                                     : sum_of_others<T, true>(row, row, n, m);
  const double log_sum = scalar_log1p(others);  // of e^(x - m)
  const double lse = static_cast<double>(m) + log_sum;
  const double weight =
      terms.class_weight != nullptr ? static_cast<double>(terms.class_weight[label]) : 1.0;
  const double share = terms.smoothing / static_cast<double>(n);

  double loss = 0;
  if (weight != 0) {
    loss = (static_cast<double>(m) - static_cast<double>(x)) + log_sum;
    if (terms.smoothing != 0 || weight != 1) loss *= (1 - terms.smoothing) * weight;
  }
  if (terms.smoothing != 0) loss += share * (distances + terms.weight_sum * log_sum);
  if (terms.z_loss != 0) loss += terms.z_loss * (lse * lse);
  if (result == RowResult::kLoss) return loss;

  const T inverse = inverse_sum<T>(others);
  if (result == RowResult::kProbabilities) {
    scale_row<T>(row, n, inverse);
    return loss;
  }
  const T e = keeps_scores ? scalar_exp_difference<T>(x, m) : row[label];
  const T y = e * inverse;
  double scale = factor * weight;
  if (terms.smoothing != 0 || terms.z_loss != 0) {
    scale = factor *
            ((1 - terms.smoothing) * weight + share * terms.weight_sum + 2 * terms.z_loss * lse);
  }
  const RowGradient<T> g{broadcast<T>(inverse), broadcast<T>(static_cast<T>(scale)),
                         broadcast<T>(static_cast<T>(factor * share)), terms.class_weight,
                         broadcast<T>(terms.softcap)};
  if (terms.softcap != 0) {
    terms.smoothing != 0 ? gradient_row<T, true, true>(row, n, m, g)
                         : gradient_row<T, false, true>(row, n, m, g);
  } else {
    terms.smoothing != 0 ? gradient_row<T, true, false>(row, n, m, g)
                         : gradient_row<T, false, false>(row, n, m, g);
  }
  row[label] = label_gradient<T>(terms, y, x, factor, weight, lse, n);
  return loss;
}

template <class T>
void cross_entropy_rows(T* scores, index_t row_stride, index_t rows, index_t cols,
                        const std::int64_t* t, const LossTerms<T>& terms, const double* factor,
                        RowResult result, double* loss) {
  for (index_t r = 0; r < rows; ++r) {
    loss[r] = cross_entropy_row<T>(scores + r * row_stride, cols, t[r], terms,
                                   factor != nullptr ? factor[r] : 0.0, result);
  }
}

}  // namespace
}  // namespace NNEXT_SIMD
}  // namespace nnext
