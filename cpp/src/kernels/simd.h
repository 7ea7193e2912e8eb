// The small vector type that every kernel is written in, over GCC's and Clang's vector extensions.
//
// An instruction set's file defines NNEXT_SIMD (its namespace) and NNEXT_VECTOR_BYTES and includes
// instantiate.h, which includes the rest. Everything lies in an unnamed namespace, so that no
// function built with wide instructions can be shared with code for a lesser CPU; for the same
// reason these files use no inline function or template of the standard library.
#pragma once

#include <cstdint>
#include <utility>

#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "exact_fma.h"
#include "kernels/table.h"

// Where fma is a function call, inlining saves nothing, and makes half as much code again.
#if defined(__AVX2__) || defined(__aarch64__)
#define NNEXT_INLINE inline __attribute__((always_inline))
// The attribute of a lambda that must become part of the loop that calls it.
#define NNEXT_LAMBDA __attribute__((always_inline))
#else
#define NNEXT_INLINE inline
#define NNEXT_LAMBDA
#endif

namespace nnext {
namespace NNEXT_SIMD {
namespace {

constexpr int kVectorBytes = NNEXT_VECTOR_BYTES;
#if defined(__AVX2__) || defined(__aarch64__)
constexpr bool kHasFma = true;
#else
constexpr bool kHasFma = false;
#endif

using VecF = float __attribute__((vector_size(kVectorBytes)));
using VecD = double __attribute__((vector_size(kVectorBytes)));
using VecI32 = std::int32_t __attribute__((vector_size(kVectorBytes)));
using VecI64 = std::int64_t __attribute__((vector_size(kVectorBytes)));

// Half a vector, for the end of a row. CPUs that run a vector of 64 bytes in two steps (Zen 4) take
// half the time for half of it; with shorter vectors there is nothing to win.
#if defined(__AVX512F__)
constexpr bool kHasHalves = true;
using HalfF = float __attribute__((vector_size(kVectorBytes / 2)));
using HalfD = double __attribute__((vector_size(kVectorBytes / 2)));
#else
constexpr bool kHasHalves = false;
using HalfF = VecF;
using HalfD = VecD;
#endif

template <class T>
struct Simd;
template <>
struct Simd<float> {
  using V = VecF;
  using Half = HalfF;
  using I = VecI32;
  using Int = std::int32_t;
  static constexpr int lanes = kVectorBytes / 4;
};
template <>
struct Simd<double> {
  using V = VecD;
  using Half = HalfD;
  using I = VecI64;
  using Int = std::int64_t;
  static constexpr int lanes = kVectorBytes / 8;
};
template <class T>
using Vec = typename Simd<T>::V;
template <class T>
using IntVec = typename Simd<T>::I;
template <class T>
using HalfVec = typename Simd<T>::Half;

template <class T>
NNEXT_INLINE Vec<T> broadcast(T x) {
  return Vec<T>{} + x;
}
template <>
NNEXT_INLINE VecF broadcast<float>(float x) {
#if defined(__AVX512F__)
  return _mm512_set1_ps(x);
#elif defined(__AVX2__)
  return _mm256_set1_ps(x);
#else
  VecF v{};
  for (int i = 0; i < Simd<float>::lanes; ++i) v[i] = x;
  return v;
#endif
}
template <>
NNEXT_INLINE VecD broadcast<double>(double x) {
#if defined(__AVX512F__)
  return _mm512_set1_pd(x);
#elif defined(__AVX2__)
  return _mm256_set1_pd(x);
#else
  VecD v{};
  for (int i = 0; i < Simd<double>::lanes; ++i) v[i] = x;
  return v;
#endif
}

template <class T>
NNEXT_INLINE Vec<T> load(const T* p) {
  Vec<T> v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}
template <class T>
NNEXT_INLINE void store(T* p, Vec<T> v) {
  __builtin_memcpy(p, &v, sizeof v);
}

// The first n lanes from memory, the rest `fill`. Nothing past p[n - 1] is read. 0 <= n <= lanes,
// or any n where kLoadsAnyCount. As fast as a whole load where kLoadsParts; elsewhere a loop.
template <class T>
NNEXT_INLINE Vec<T> load_partial(const T* p, index_t n, T fill) {
  T buffer[Simd<T>::lanes];
  for (int i = 0; i < Simd<T>::lanes; ++i) buffer[i] = i < n ? p[i] : fill;
  return load<T>(buffer);
}
// The first n lanes to memory, 0 <= n <= lanes. Nothing past p[n - 1] is written.
template <class T>
NNEXT_INLINE void store_partial(T* p, Vec<T> v, index_t n) {
  for (int i = 0; i < Simd<T>::lanes; ++i) {
    if (i < n) p[i] = v[i];
  }
}
#if defined(__AVX512F__)
constexpr bool kLoadsParts = true;
constexpr bool kLoadsAnyCount = false;  // by comparing lanes with n: a sixth slower in layer norm
template <>
NNEXT_INLINE VecF load_partial<float>(const float* p, index_t n, float fill) {
  return _mm512_mask_loadu_ps(_mm512_set1_ps(fill), static_cast<__mmask16>((1u << n) - 1), p);
}
template <>
NNEXT_INLINE VecD load_partial<double>(const double* p, index_t n, double fill) {
  return _mm512_mask_loadu_pd(_mm512_set1_pd(fill), static_cast<__mmask8>((1u << n) - 1), p);
}
template <>
NNEXT_INLINE void store_partial<float>(float* p, VecF v, index_t n) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), v);
}
template <>
NNEXT_INLINE void store_partial<double>(double* p, VecD v, index_t n) {
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1), v);
}
#elif defined(__AVX2__)
constexpr bool kLoadsParts = true;
constexpr bool kLoadsAnyCount = true;
template <>
NNEXT_INLINE VecF load_partial<float>(const float* p, index_t n, float fill) {
  const VecI32 lane = {0, 1, 2, 3, 4, 5, 6, 7};
  const VecI32 is_there = lane < (VecI32{} + static_cast<std::int32_t>(n));
  const VecF v = _mm256_maskload_ps(p, reinterpret_cast<__m256i>(is_there));
  if (__builtin_constant_p(fill) && fill == 0) return v;  // as the instruction leaves it
  return is_there ? v : _mm256_set1_ps(fill);
}
template <>
NNEXT_INLINE VecD load_partial<double>(const double* p, index_t n, double fill) {
  const VecI64 lane = {0, 1, 2, 3};
  const VecI64 is_there = lane < (VecI64{} + n);
  const VecD v = _mm256_maskload_pd(p, reinterpret_cast<__m256i>(is_there));
  if (__builtin_constant_p(fill) && fill == 0) return v;
  return is_there ? v : _mm256_set1_pd(fill);
}
// By halves: element by element this was a thirteenth of the instruction set's code.
template <>
NNEXT_INLINE void store_partial<float>(float* p, VecF v, index_t n) {
  if (n >= Simd<float>::lanes) return store<float>(p, v);
  __m128 rest = _mm256_castps256_ps128(v);
  if ((n & 4) != 0) {
    _mm_storeu_ps(p, rest);
    rest = _mm256_extractf128_ps(v, 1);
    p += 4;
  }
  if ((n & 2) != 0) {
    _mm_storel_pi(reinterpret_cast<__m64*>(p), rest);
    rest = _mm_movehl_ps(rest, rest);
    p += 2;
  }
  if ((n & 1) != 0) _mm_store_ss(p, rest);
}
template <>
NNEXT_INLINE void store_partial<double>(double* p, VecD v, index_t n) {
  if (n >= Simd<double>::lanes) return store<double>(p, v);
  __m128d rest = _mm256_castpd256_pd128(v);
  if ((n & 2) != 0) {
    _mm_storeu_pd(p, rest);
    rest = _mm256_extractf128_pd(v, 1);
    p += 2;
  }
  if ((n & 1) != 0) _mm_store_sd(p, rest);
}
#else
constexpr bool kLoadsParts = false;
constexpr bool kLoadsAnyCount = true;
#endif

// Calls step(i, count) for the whole vectors and the partial last one of n elements.
template <class T, class Step>
NNEXT_INLINE void for_each_vector(index_t n, const Step& step) {
  constexpr int kVector = Simd<T>::lanes;
  index_t i = 0;
  for (; i + kVector <= n; i += kVector) step(i, kVector);
  if (i < n) step(i, n - i);
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

// The first n elements of half a vector, and the lower half of a whole one.
template <class T>
NNEXT_INLINE HalfVec<T> load_half(const T* p, index_t n) {
  return load_partial<T>(p, n, T{0});
}
template <class T>
NNEXT_INLINE void store_half(T* p, HalfVec<T> v, index_t n) {
  store_partial<T>(p, v, n);
}
template <class T>
NNEXT_INLINE HalfVec<T> lower_half(Vec<T> v) {
  return v;
}
#if defined(__AVX512F__)
template <>
NNEXT_INLINE HalfF load_half<float>(const float* p, index_t n) {
  return _mm256_maskz_loadu_ps(static_cast<__mmask8>((1u << n) - 1), p);
}
template <>
NNEXT_INLINE HalfD load_half<double>(const double* p, index_t n) {
  return _mm256_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1), p);
}
template <>
NNEXT_INLINE void store_half<float>(float* p, HalfF v, index_t n) {
  _mm256_mask_storeu_ps(p, static_cast<__mmask8>((1u << n) - 1), v);
}
template <>
NNEXT_INLINE void store_half<double>(double* p, HalfD v, index_t n) {
  _mm256_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1), v);
}
template <>
NNEXT_INLINE HalfF lower_half<float>(VecF v) {
  return _mm512_castps512_ps256(v);
}
template <>
NNEXT_INLINE HalfD lower_half<double>(VecD v) {
  return _mm512_castpd512_pd256(v);
}
#endif

NNEXT_INLINE HalfF broadcast_half(float x) {
#if defined(__AVX512F__)
  return _mm256_set1_ps(x);
#else
  return broadcast<float>(x);
#endif
}
NNEXT_INLINE HalfD broadcast_half(double x) {
#if defined(__AVX512F__)
  return _mm256_set1_pd(x);
#else
  return broadcast<double>(x);
#endif
}

#if defined(_WIN32)
NNEXT_INLINE float fma_of(float a, float b, float c) { return exact_fma(a, b, c); }
NNEXT_INLINE double fma_of(double a, double b, double c) { return exact_fma(a, b, c); }
#else
NNEXT_INLINE float fma_of(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
NNEXT_INLINE double fma_of(double a, double b, double c) { return __builtin_fma(a, b, c); }
#endif

// a * b + c with one rounding. Where the CPU has no such instruction the C library computes it, on
// Windows exact_fma.
NNEXT_INLINE VecF fma(VecF a, VecF b, VecF c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(__AVX2__)
  return _mm256_fmadd_ps(a, b, c);
#elif defined(__aarch64__)
  return vfmaq_f32(c, a, b);
#else
  VecF r{};
  for (int i = 0; i < Simd<float>::lanes; ++i) r[i] = fma_of(a[i], b[i], c[i]);
  return r;
#endif
}
NNEXT_INLINE VecD fma(VecD a, VecD b, VecD c) {
#if defined(__AVX512F__)
  return _mm512_fmadd_pd(a, b, c);
#elif defined(__AVX2__)
  return _mm256_fmadd_pd(a, b, c);
#elif defined(__aarch64__)
  return vfmaq_f64(c, a, b);
#else
  VecD r{};
  for (int i = 0; i < Simd<double>::lanes; ++i) r[i] = fma_of(a[i], b[i], c[i]);
  return r;
#endif
}

#if defined(__AVX512F__)
NNEXT_INLINE HalfF fma(HalfF a, HalfF b, HalfF c) { return _mm256_fmadd_ps(a, b, c); }
NNEXT_INLINE HalfD fma(HalfD a, HalfD b, HalfD c) { return _mm256_fmadd_pd(a, b, c); }
#endif

NNEXT_INLINE VecF square_root(VecF x) {
#if defined(__AVX512F__)
  return _mm512_sqrt_ps(x);
#elif defined(__AVX2__)
  return _mm256_sqrt_ps(x);
#else
  VecF r{};
  for (int i = 0; i < Simd<float>::lanes; ++i) r[i] = __builtin_sqrtf(x[i]);
  return r;
#endif
}
NNEXT_INLINE VecD square_root(VecD x) {
#if defined(__AVX512F__)
  return _mm512_sqrt_pd(x);
#elif defined(__AVX2__)
  return _mm256_sqrt_pd(x);
#else
  VecD r{};
  for (int i = 0; i < Simd<double>::lanes; ++i) r[i] = __builtin_sqrt(x[i]);
  return r;
#endif
}

// A vector of bytes as integers of the lanes' width.
template <class T>
NNEXT_INLINE IntVec<T> load_bytes(const std::uint8_t* p) {
  IntVec<T> v{};
  for (int i = 0; i < Simd<T>::lanes; ++i) v[i] = p[i];
  return v;
}
#if defined(__AVX512F__)
template <>
NNEXT_INLINE VecI32 load_bytes<float>(const std::uint8_t* p) {
  return reinterpret_cast<VecI32>(
      _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}
template <>
NNEXT_INLINE VecI64 load_bytes<double>(const std::uint8_t* p) {
  return reinterpret_cast<VecI64>(_mm512_cvtepu8_epi64(_mm_loadu_si64(p)));
}
#elif defined(__AVX2__)
template <>
NNEXT_INLINE VecI32 load_bytes<float>(const std::uint8_t* p) {
  return reinterpret_cast<VecI32>(_mm256_cvtepu8_epi32(_mm_loadu_si64(p)));
}
template <>
NNEXT_INLINE VecI64 load_bytes<double>(const std::uint8_t* p) {
  return reinterpret_cast<VecI64>(_mm256_cvtepu8_epi64(_mm_loadu_si32(p)));
}
#endif

// x, of which the compiler is to know nothing more. Clang multiplies all lanes by y and chooses
// afterwards where lanes of x are multiplied by `mask ? y : 1`: those too whose product with y is
// not normal.
template <class V>
NNEXT_INLINE V opaque(V x) {
#if defined(__x86_64__)
  asm("" : "+v"(x));
#elif defined(__aarch64__)
  asm("" : "+w"(x));
#endif
  return x;
}

// A shuffle of two vectors: result element i is element P::at(i) of their concatenation.
template <class P, class V, int... I>
NNEXT_INLINE V shuffled(V a, V b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, P::at(I)...);
}
template <class T, class P>
NNEXT_INLINE Vec<T> shuffle(Vec<T> a, Vec<T> b) {
  return shuffled<P>(a, b, std::make_integer_sequence<int, Simd<T>::lanes>{});
}

// The larger (smaller) of a and b, lane by lane; b where either is NaN, as x86 has it.
NNEXT_INLINE VecF maximum(VecF a, VecF b) {
#if defined(__AVX512F__)
  return _mm512_max_ps(a, b);
#elif defined(__AVX2__)
  return _mm256_max_ps(a, b);
#else
  return a > b ? a : b;
#endif
}
NNEXT_INLINE VecD maximum(VecD a, VecD b) {
#if defined(__AVX512F__)
  return _mm512_max_pd(a, b);
#elif defined(__AVX2__)
  return _mm256_max_pd(a, b);
#else
  return a > b ? a : b;
#endif
}
NNEXT_INLINE VecF minimum(VecF a, VecF b) {
#if defined(__AVX512F__)
  return _mm512_min_ps(a, b);
#elif defined(__AVX2__)
  return _mm256_min_ps(a, b);
#else
  return a < b ? a : b;
#endif
}
NNEXT_INLINE VecD minimum(VecD a, VecD b) {
#if defined(__AVX512F__)
  return _mm512_min_pd(a, b);
#elif defined(__AVX2__)
  return _mm256_min_pd(a, b);
#else
  return a < b ? a : b;
#endif
}

// Joins the lanes of a vector in the fixed tree: lanes i and i + L/2, then i + L/4, ... i + 1.
template <class T, int Distance>
struct RotateBy {  // coverage off: when it is compiled
  static constexpr int at(int i) { return (i + Distance) % Simd<T>::lanes; }
};  // coverage on
template <class T, int Distance, class Join>
NNEXT_INLINE T joined_lanes(Vec<T> v, const Join& join) {
  if constexpr (Distance == 0) {
    return v[0];
  } else {
    return joined_lanes<T, Distance / 2>(join(v, shuffle<T, RotateBy<T, Distance>>(v, v)), join);
  }
}

// Bits of a floating vector as integers of the same width, and back.
NNEXT_INLINE VecI32 bits(VecF v) { return reinterpret_cast<VecI32>(v); }
NNEXT_INLINE VecI64 bits(VecD v) { return reinterpret_cast<VecI64>(v); }
NNEXT_INLINE VecF from_bits(VecI32 v) { return reinterpret_cast<VecF>(v); }
NNEXT_INLINE VecD from_bits(VecI64 v) { return reinterpret_cast<VecD>(v); }

// a + b and a - b, which wrap round where they do not fit.
using VecU32 = std::uint32_t __attribute__((vector_size(kVectorBytes)));
using VecU64 = std::uint64_t __attribute__((vector_size(kVectorBytes)));
NNEXT_INLINE VecI32 wrapped_sum(VecI32 a, VecI32 b) {
  return reinterpret_cast<VecI32>(reinterpret_cast<VecU32>(a) + reinterpret_cast<VecU32>(b));
}
NNEXT_INLINE VecI64 wrapped_sum(VecI64 a, VecI64 b) {
  return reinterpret_cast<VecI64>(reinterpret_cast<VecU64>(a) + reinterpret_cast<VecU64>(b));
}
NNEXT_INLINE VecI32 wrapped_difference(VecI32 a, VecI32 b) {
  return reinterpret_cast<VecI32>(reinterpret_cast<VecU32>(a) - reinterpret_cast<VecU32>(b));
}
NNEXT_INLINE VecI64 wrapped_difference(VecI64 a, VecI64 b) {
  return reinterpret_cast<VecI64>(reinterpret_cast<VecU64>(a) - reinterpret_cast<VecU64>(b));
}

// A bit for each lane of a comparison's result, the first lowest.
NNEXT_INLINE unsigned lane_bits(VecI32 mask) {
#if defined(__AVX512F__)
  return _mm512_movepi32_mask(reinterpret_cast<__m512i>(mask));
#elif defined(__AVX2__)
  return static_cast<unsigned>(_mm256_movemask_ps(reinterpret_cast<VecF>(mask)));
#else
  unsigned all = 0;
  for (int i = 0; i < Simd<float>::lanes; ++i) all |= (static_cast<unsigned>(mask[i]) & 1u) << i;
  return all;
#endif
}
NNEXT_INLINE unsigned lane_bits(VecI64 mask) {
#if defined(__AVX512F__)
  return _mm512_movepi64_mask(reinterpret_cast<__m512i>(mask));
#elif defined(__AVX2__)
  return static_cast<unsigned>(_mm256_movemask_pd(reinterpret_cast<VecD>(mask)));
#else
  unsigned all = 0;
  for (int i = 0; i < Simd<double>::lanes; ++i) all |= (static_cast<unsigned>(mask[i]) & 1u) << i;
  return all;
#endif
}

// Whether a < b in some lane; not where either is NaN.
NNEXT_INLINE bool any_less(VecD a, VecD b) {
#if defined(__AVX512F__)
  return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ) != 0;
#else
  const VecI64 is_less = a < b;
  return lane_bits(is_less) != 0;
#endif
}

template <class T>
NNEXT_INLINE bool all_lanes(IntVec<T> mask) {
  return lane_bits(mask) == (1u << Simd<T>::lanes) - 1;
}
template <class T>
NNEXT_INLINE index_t count_lanes(IntVec<T> mask) {
  return __builtin_popcount(lane_bits(mask));
}

}  // namespace
}  // namespace NNEXT_SIMD
}  // namespace nnext
