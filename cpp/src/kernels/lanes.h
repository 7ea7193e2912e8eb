// 16 consecutive elements, whatever the vector's width: what every sum is taken in, so that its
// bits are the same with every instruction set.
#pragma once

#include "kernels/simd.h"

namespace nnext {
namespace NNEXT_SIMD {
namespace {

// Virtual lane i of a sum holds elements i, i + 16, i + 32, ... in order; sum_lanes joins them.
constexpr int kLanes = 16;
template <class T>
constexpr int kParts = kLanes / Simd<T>::lanes;

template <class T>
struct Lanes {
  Vec<T> part[kParts<T>];
};

template <class T>
NNEXT_INLINE Lanes<T> load_lanes(const T* p, index_t n, T fill) {
  Lanes<T> x;
  for (int i = 0; i < kParts<T>; ++i) {
    const T* const from = p + i * Simd<T>::lanes;
    const index_t left = n - i * Simd<T>::lanes;
    if (kLoadsAnyCount ? n >= kLanes : left >= Simd<T>::lanes) {
      x.part[i] = load<T>(from);
    } else {
      x.part[i] =
          kLoadsAnyCount || left > 0 ? load_partial<T>(from, left, fill) : broadcast<T>(fill);
    }
  }
  return x;
}

template <class T>
NNEXT_INLINE void store_lanes(T* p, const Lanes<T>& x, index_t n) {
  for (int i = 0; i < kParts<T>; ++i) {
    const index_t left = n - i * Simd<T>::lanes;
    if (left >= Simd<T>::lanes) {
      store<T>(p + i * Simd<T>::lanes, x.part[i]);
    } else if (left > 0) {
      store_partial<T>(p + i * Simd<T>::lanes, x.part[i], left);
    }
  }
}

NNEXT_INLINE void add_lanes(Lanes<double>& sum, const Lanes<double>& x) {
  for (int i = 0; i < kParts<double>; ++i) sum.part[i] += x.part[i];
}

// 16 floats as doubles, which is exact.
NNEXT_INLINE Lanes<double> doubles(const Lanes<float>& x) {
  Lanes<double> y;
  for (int i = 0; i < kParts<float>; ++i) {
#if defined(__AVX512F__)
    y.part[2 * i] = _mm512_cvtps_pd(_mm512_castps512_ps256(x.part[i]));
    y.part[2 * i + 1] = _mm512_cvtps_pd(_mm512_extractf32x8_ps(x.part[i], 1));
#elif defined(__AVX2__)
    y.part[2 * i] = _mm256_cvtps_pd(_mm256_castps256_ps128(x.part[i]));
    y.part[2 * i + 1] = _mm256_cvtps_pd(_mm256_extractf128_ps(x.part[i], 1));
#else
    constexpr int kHalf = Simd<double>::lanes;
    for (int j = 0; j < kHalf; ++j) {
      y.part[2 * i][j] = static_cast<double>(x.part[i][j]);
      y.part[2 * i + 1][j] = static_cast<double>(x.part[i][j + kHalf]);
    }
#endif
  }
  return y;
}

// 16 doubles rounded to floats.
NNEXT_INLINE Lanes<float> floats(const Lanes<double>& x) {
  Lanes<float> y;
  for (int i = 0; i < kParts<float>; ++i) {
#if defined(__AVX512F__)
    y.part[i] = _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(x.part[2 * i])),
                                   _mm512_cvtpd_ps(x.part[2 * i + 1]), 1);
#elif defined(__AVX2__)
    y.part[i] = _mm256_set_m128(_mm256_cvtpd_ps(x.part[2 * i + 1]), _mm256_cvtpd_ps(x.part[2 * i]));
#else
    constexpr int kHalf = Simd<double>::lanes;
    for (int j = 0; j < kHalf; ++j) {
      y.part[i][j] = static_cast<float>(x.part[2 * i][j]);
      y.part[i][j + kHalf] = static_cast<float>(x.part[2 * i + 1][j]);
    }
#endif
  }
  return y;
}

// Adds 16 floats to 16 doubles, exactly converted.
NNEXT_INLINE void add_lanes(Lanes<double>& sum, const Lanes<float>& x) {
  add_lanes(sum, doubles(x));
}

// The fixed tree: lanes i and i + 8, then i + 4, i + 2, i + 1.
NNEXT_INLINE double sum_lanes(Lanes<double> x) {
#pragma GCC unroll 4
  for (int width = kParts<double> / 2; width > 0; width /= 2) {
#pragma GCC unroll 4
    for (int i = 0; i < width; ++i) x.part[i] += x.part[i + width];
  }
  return joined_lanes<double, Simd<double>::lanes / 2>(
      x.part[0], [](VecD a, VecD b) NNEXT_LAMBDA { return a + b; });
}

}  // namespace
}  // namespace NNEXT_SIMD
}  // namespace nnext
