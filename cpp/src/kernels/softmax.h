// Softmax along contiguous rows, its loss and their gradients.
//
// With m the largest score of a row and S' the sum of e^(x_i - m) over all elements but one that
// equals m, the row's sum is 1 + S' and its loss (m - x_t) + log(1 + S'): two terms that are not
// negative, so nothing cancels and a loss near 0 keeps all its digits.
#pragma once

#include "kernels/lanes.h"
#include "kernels/math.h"

namespace nnext {
namespace NNEXT_SIMD {
namespace {

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
    for (int j = 0; j < kChains; ++j) most[j] = maximum(load<T>(x + i + j * kVector), most[j]);
  }
  for (; i + kVector <= n; i += kVector) most[0] = maximum(load<T>(x + i), most[0]);
  if (i < n) {
    most[1] = maximum(load_partial<T>(x + i, n - i, none[0]), most[1]);
  }
  const Vec<T> v = maximum(maximum(most[0], most[1]), maximum(most[2], most[3]));
  return joined_lanes<T, kVector / 2>(
      v, [](Vec<T> p, Vec<T> q) NNEXT_LAMBDA { return maximum(p, q); });
}

// The first column of each row with its largest element, where NaN counts as -inf.
template <class T>
void best_rows(const T* x, std::int64_t* best, index_t rows, index_t cols) {
  constexpr int kVector = Simd<T>::lanes;
  for (index_t r = 0; r < rows; ++r, x += cols) {
    const T most = row_maximum<T>(x, cols);
    best[r] = 0;
    if (most == -infinity<T>()[0]) continue;
    for (index_t i = 0; i < cols; i += kVector) {
      const index_t left = cols - i < kVector ? cols - i : kVector;
      const Vec<T> v = load_partial<T>(x + i, left, -infinity<T>()[0]);
      const IntVec<T> is_most = v == broadcast<T>(most);
      const unsigned found = lane_bits(is_most);
      if (found != 0) {
        best[r] = i + __builtin_ctz(found);
        break;
      }
    }
  }
}

// Below this S' the difference of the sum and 1 has too few digits left, and S' is summed anew from
// the exponentials that are not 1; those that are get counted.
template <class T>
constexpr double kSmallRest = sizeof(T) == 4 ? 0x1p-10 : 0x1p4;

// Adds e where it is not 1 to the sum, and to `ones` how often it is.
template <class T>
NNEXT_INLINE void add_others(Lanes<double>& sum, index_t& ones, Lanes<T> e) {
  for (int j = 0; j < kParts<T>; ++j) {
    const IntVec<T> is_one = e.part[j] == broadcast<T>(T{1});
    e.part[j] = is_one ? Vec<T>{} : e.part[j];
    ones += count_lanes<T>(is_one);
  }
  add_lanes(sum, e);
}

template <class T>
NNEXT_INLINE Lanes<T> exponentials(const T* x, index_t left, Vec<T> most) {
  Lanes<T> e = load_lanes<T>(x, left, -infinity<T>()[0]);
#pragma GCC unroll 8
  for (int j = 0; j < kParts<T>; ++j) e.part[j] = exp_difference<T>(e.part[j], most);
  return e;
}

// The same products as times() for exponentials and the factor of their own sum: they are 0,
// normal, or NaN where the factor is NaN too, so that a comparison, which costs less, may make them
// 0.
template <class T>
NNEXT_INLINE Vec<T> probability(Vec<T> e, const Factor<T>& factor) {
  return (e >= from_bits(factor.least) ? e : Vec<T>{}) * factor.value;
}
template <class T>
NNEXT_INLINE Lanes<T> probabilities(Lanes<T> e, const Factor<T>& factor) {
  for (int j = 0; j < kParts<T>; ++j) e.part[j] = probability<T>(e.part[j], factor);
  return e;
}

// What turns exponentials into probabilities, from S'. The least of them that does so is rounded up
// by more than the roundings of the factor and its own may have lost: it is there for an addition,
// where Factor's costs a division a row.
template <class T>
NNEXT_INLINE Factor<T> probability_factor(double others) {
  constexpr double kUp = 1 + 4 * (sizeof(T) == 4 ? 0x1p-24 : 0x1p-53);
  return {static_cast<T>(1.0 / (1.0 + others)),
          static_cast<T>((1.0 + others) * kUp) * Normal<T>::kLeast};
}

// Returns S' of a row with maximum m, with too few digits if it is small. With Store the
// exponentials are left in e, which may be x; with Pad also zeros up to a multiple of 16.
template <class T, bool Store, bool Pad = false, bool AtMost16 = false>
NNEXT_INLINE double rough_others(const T* x, T* e, index_t n, T m) {
  const Vec<T> most = broadcast<T>(m);
  Lanes<double> sum{};
  index_t i = 0;
  for (; !AtMost16 && i + 2 * kLanes <= n; i += 2 * kLanes) {
    const Lanes<T> a = exponentials<T>(x + i, kLanes, most);
    const Lanes<T> b = exponentials<T>(x + i + kLanes, kLanes, most);
    add_lanes(sum, a);
    add_lanes(sum, b);
    if constexpr (Store) {
      store_lanes<T>(e + i, a, kLanes);
      store_lanes<T>(e + i + kLanes, b, kLanes);
    }
  }
  for (; i < (AtMost16 ? 1 : n); i += kLanes) {
    const Lanes<T> a = exponentials<T>(x + i, n - i, most);
    add_lanes(sum, a);
    if constexpr (Store) store_lanes<T>(e + i, a, Pad ? kLanes : n - i);
  }
  return sum_lanes(sum) - 1.0;
}

// Returns a small S' with all its digits, from the exponentials or, without Store, the scores.
template <class T, bool Store>
NNEXT_INLINE double small_others(const T* x, const T* e, index_t n, T m) {
  Lanes<double> others{};
  index_t ones = 0;
  for (index_t i = 0; i < n; i += kLanes) {
    add_others<T>(
        others, ones,
        Store ? load_lanes<T>(e + i, n - i, T{0}) : exponentials<T>(x + i, n - i, broadcast<T>(m)));
  }
  return sum_lanes(others) + static_cast<double>(ones - 1);
}

template <class T, bool Store>
NNEXT_INLINE double sum_of_others(const T* x, T* e, index_t n, T m) {
  const double others = rough_others<T, Store>(x, e, n, m);
  return others < kSmallRest<T> ? small_others<T, Store>(x, e, n, m) : others;
}

template <class T>
NNEXT_INLINE void scale_row(T* y, index_t n, const Factor<T>& f) {
  index_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    store_lanes<T>(y + i, probabilities<T>(load_lanes<T>(y + i, kLanes, T{0}), f), kLanes);
  }
  if (i < n) store_lanes<T>(y + i, probabilities<T>(load_lanes<T>(y + i, n - i, T{0}), f), n - i);
}

// Rows of a block: their losses are computed together, a vector at a time, and where they are short
// all the rest too, of as many as fit the memory aside.
constexpr index_t kRowBlock = 64;

// Some short rows, step by step: the steps of a row wait for each other, those of several rows do
// not. 10000 rows of 10 on a Zen 4 core: 160 us against 213 row by row. The exponentials lie aside
// meanwhile, in rows of a multiple of 16: to read a row right after the end of the one before has
// been written takes some 40 cycles. Rows with a small S' are listed first, since a branch in each
// row would be mispredicted where some rows have one and some not: 50,000 rows of 10, scores times
// 20, took 1.8 times as long as ordinary ones, and take 1.07 so (Zen 5 EPYC).
constexpr index_t kShortRow = 64;

NNEXT_INLINE index_t padded(index_t cols) { return (cols + kLanes - 1) / kLanes * kLanes; }

// How many short rows fit the memory aside.
NNEXT_INLINE index_t rows_aside(index_t cols) { return kRowBlock * kLanes / padded(cols); }

template <class T, bool AtMost16>
NNEXT_INLINE void short_rows(const T* x, T* y, index_t rows, index_t cols, T* most,
                             double* others) {
  alignas(64) T e[kRowBlock * kLanes];
  const index_t width = AtMost16 ? kLanes : padded(cols);
  index_t small[kRowBlock];  // rows with a small S'
  index_t count = 0;
  for (index_t r = 0; r < rows; ++r) most[r] = row_maximum<T>(x + r * cols, cols);
  for (index_t r = 0; r < rows; ++r) {
    others[r] = rough_others<T, true, true, AtMost16>(x + r * cols, e + r * width, cols, most[r]);
    small[count] = r;
    count += others[r] < kSmallRest<T> ? 1 : 0;
  }
  for (index_t i = 0; i < count; ++i) {
    const index_t r = small[i];
    others[r] = small_others<T, true>(nullptr, e + r * width, width, most[r]);
  }
  for (index_t r = 0; r < rows; ++r) {
    const Factor<T> factor = probability_factor<T>(others[r]);
    for (index_t i = 0; i < (AtMost16 ? 1 : cols); i += kLanes) {
      const Lanes<T> row = load_lanes<T>(e + r * width + i, kLanes, T{0});
      store_lanes<T>(y + r * cols + i, probabilities<T>(row, factor), cols - i);
    }
  }
}

template <class T>
void softmax_rows(const T* x, T* y, index_t rows, index_t cols, const std::int64_t* t,
                  double* loss) {
  T most[kRowBlock];
  double others[kRowBlock];
  double distance[kRowBlock];  // m - x_t
  for (index_t first = 0; first < rows; first += kRowBlock) {
    const index_t block = rows - first < kRowBlock ? rows - first : kRowBlock;
    const T* const from = x + first * cols;
    T* const to = y + first * cols;  // may be the scores' own place
    for (index_t r = 0; t != nullptr && r < block; ++r) {
      distance[r] = -static_cast<double>(from[r * cols + t[first + r]]);
    }
    if (cols <= kLanes) {
      short_rows<T, true>(from, to, block, cols, most, others);
    } else if (cols <= kShortRow) {
      const index_t together = rows_aside(cols);
      for (index_t r = 0; r < block; r += together) {
        const index_t count = block - r < together ? block - r : together;
        short_rows<T, false>(from + r * cols, to + r * cols, count, cols, most + r, others + r);
      }
    } else {
      for (index_t r = 0; r < block; ++r) {
        most[r] = row_maximum<T>(from + r * cols, cols);
        others[r] = sum_of_others<T, true>(from + r * cols, to + r * cols, cols, most[r]);
        scale_row<T>(to + r * cols, cols, probability_factor<T>(others[r]));
      }
    }
    if (loss == nullptr) continue;
    for (index_t r = 0; r < block; ++r) distance[r] += static_cast<double>(most[r]);
    for (index_t r = 0; r < block; r += Simd<double>::lanes) {
      const index_t left = block - r < Simd<double>::lanes ? block - r : Simd<double>::lanes;
      const VecD value = load_partial<double>(distance + r, left, 0.0) +
                         log1p<double>(load_partial<double>(others + r, left, 0.0));
      store_partial<double>(loss + first + r, value, left);
    }
  }
}

// Adds the products of `left` probabilities and gradients, of 16 at most, to the sum.
template <class T>
NNEXT_INLINE void add_products(Lanes<double>& sum, const T* y, const T* dout, index_t left) {
  Lanes<T> share = load_lanes<T>(y, left, T{0});
  const Lanes<T> d = load_lanes<T>(dout, left, T{0});
  for (int j = 0; j < kParts<T>; ++j) {
    share.part[j] = product_with_probability<T>(d.part[j], share.part[j]);
  }
  add_lanes(sum, share);
}

template <class T>
NNEXT_INLINE void softmax_gradient(const T* y, const T* dout, Vec<T> total, T* dx, index_t left) {
  Lanes<T> out = load_lanes<T>(y, left, T{0});
  const Lanes<T> d = load_lanes<T>(dout, left, T{0});
  for (int j = 0; j < kParts<T>; ++j) {
    out.part[j] = product_with_probability<T>(d.part[j] - total, out.part[j]);
  }
  store_lanes<T>(dx, out, left);
}

// dx = y (dout - sum of y dout)
template <class T>
void softmax_backward_rows(const T* y, const T* dout, T* dx, index_t rows, index_t cols) {
  const index_t whole = cols / kLanes * kLanes;
  for (index_t r = 0; r < rows; ++r, y += cols, dout += cols, dx += cols) {
    Lanes<double> sum{};
    for (index_t i = 0; i < whole; i += kLanes) add_products<T>(sum, y + i, dout + i, kLanes);
    if (whole < cols) add_products<T>(sum, y + whole, dout + whole, cols - whole);
    const double rounded = sum_lanes(sum);
    // One comparison: the sign of the sum would be mispredicted every other row.
    const bool is_small = __builtin_fabs(rounded) < Normal<T>::kLeast;
    const Vec<T> total = broadcast<T>(is_small ? T{0} : static_cast<T>(rounded));
    for (index_t i = 0; i < whole; i += kLanes) {
      softmax_gradient<T>(y + i, dout + i, total, dx + i, kLanes);
    }
    if (whole < cols) {
      softmax_gradient<T>(y + whole, dout + whole, total, dx + whole, cols - whole);
    }
  }
}

template <class T>
void softmax_loss_backward_rows(const T* y, const std::int64_t* t, T factor, T* dx, index_t rows,
                                index_t cols) {
  constexpr int kVector = Simd<T>::lanes;
  const Factor<T> f(factor);
  const index_t n = rows * cols;
  index_t i = 0;
  for (; i + kVector <= n; i += kVector) store<T>(dx + i, times<T>(load<T>(y + i), f));
  if (i < n) store_partial<T>(dx + i, times<T>(load_partial<T>(y + i, n - i, T{0}), f), n - i);
  for (index_t r = 0; r < rows; ++r) {
    T& at_label = dx[r * cols + t[r]];
    at_label = times<T>(broadcast<T>(y[r * cols + t[r]] - T{1}), f)[0];
  }
}

}  // namespace
}  // namespace NNEXT_SIMD
}  // namespace nnext
