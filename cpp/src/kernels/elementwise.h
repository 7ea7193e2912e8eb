// Activations, their gradients and dropout: one pass over contiguous arrays.
#pragma once

#include "kernels/gelu.h"

namespace nnext {
namespace NNEXT_SIMD {
namespace {

// y[i] = f(x[i], ...) over n elements of each input, the last vector partial.
template <class T, class F>
NNEXT_INLINE void map(T* y, index_t n, const F& f, const T* x) {
  constexpr int kVector = Simd<T>::lanes;
  index_t i = 0;
  for (; i + kVector <= n; i += kVector) store<T>(y + i, f(load<T>(x + i)));
  if (i < n) store_partial<T>(y + i, f(load_partial<T>(x + i, n - i, T{0})), n - i);
}
template <class T, class F>
NNEXT_INLINE void map(T* y, index_t n, const F& f, const T* x1, const T* x2) {
  constexpr int kVector = Simd<T>::lanes;
  index_t i = 0;
  for (; i + kVector <= n; i += kVector) store<T>(y + i, f(load<T>(x1 + i), load<T>(x2 + i)));
  if (i < n) {
    const index_t left = n - i;
    store_partial<T>(
        y + i, f(load_partial<T>(x1 + i, left, T{0}), load_partial<T>(x2 + i, left, T{0})), left);
  }
}

template <class T>
void exp_array(const T* x, T* y, index_t n) {
  map<T>(y, n, [](Vec<T> v) NNEXT_LAMBDA { return exp<T>(v); }, x);
}
template <class T>
void log_array(const T* x, T* y, index_t n) {
  map<T>(y, n, [](Vec<T> v) NNEXT_LAMBDA { return log<T>(v); }, x);
}
template <class T>
void sigmoid_array(const T* x, T* y, index_t n) {
  map<T>(y, n, [](Vec<T> v) NNEXT_LAMBDA { return sigmoid<T>(v); }, x);
}
template <class T>
void tanh_array(const T* x, T* y, index_t n) {
  map<T>(y, n, [](Vec<T> v) NNEXT_LAMBDA { return tanh<T>(v); }, x);
}
// Written so that NaN, for which no comparison holds, stays NaN and -0 becomes +0.
template <class T>
void relu_array(const T* x, T* y, index_t n) {
  map<T>(
      y, n,
      [](Vec<T> v) NNEXT_LAMBDA {
        const Vec<T> normal = flushed<T>(v);
        return normal <= Vec<T>{} ? Vec<T>{} : normal;
      },
      x);
}
template <class T>
void silu_array(const T* x, T* y, index_t n) {
  map<T>(y, n, [](Vec<T> v) NNEXT_LAMBDA { return silu<T>(v); }, x);
}
template <class T>
void gelu_array(const T* x, T* y, index_t n) {
  map<T>(y, n, [](Vec<T> v) NNEXT_LAMBDA { return gelu<T>(v); }, x);
}
template <class T>
void gelu_tanh_array(const T* x, T* y, index_t n) {
  map<T>(y, n, [](Vec<T> v) NNEXT_LAMBDA { return gelu_tanh<T>(v); }, x);
}

// v where `of` is positive or NaN, elsewhere v times the slope.
template <class T>
NNEXT_INLINE Vec<T> leaky(Vec<T> of, Vec<T> v, const Factor<T>& slope) {
  const IntVec<T> leaks = of <= Vec<T>{};
  const Vec<T> large = at_least<T>(v, leaks ? slope.least : IntVec<T>{} + Normal<T>::kBits);
  return large * opaque(leaks ? slope.value : broadcast<T>(T{1}));
}
template <class T>
void leaky_relu_array(const T* x, T* y, index_t n, T negative_slope) {
  const Factor<T> slope(negative_slope);
  map<T>(
      y, n,
      [&slope](Vec<T> v) NNEXT_LAMBDA {
        const Vec<T> normal = flushed<T>(v);
        return leaky<T>(normal, normal, slope);
      },
      x);
}
template <class T>
void leaky_relu_backward_array(const T* y, const T* dout, T* dx, index_t n, T negative_slope) {
  const Factor<T> slope(negative_slope);
  map<T>(
      dx, n, [&slope](Vec<T> out, Vec<T> d) NNEXT_LAMBDA { return leaky<T>(out, d, slope); }, y,
      dout);
}

template <class T>
void sigmoid_backward_array(const T* y, const T* dout, T* dx, index_t n) {
  map<T>(
      dx, n,
      [](Vec<T> out, Vec<T> d)
          NNEXT_LAMBDA { return product<T>(d, (broadcast<T>(T{1}) - out) * out); },
      y, dout);
}
template <class T>
void tanh_backward_array(const T* y, const T* dout, T* dx, index_t n) {
  map<T>(
      dx, n,
      [](Vec<T> out, Vec<T> d)
          NNEXT_LAMBDA { return product<T>(d, fma(-out, out, broadcast<T>(T{1}))); },
      y, dout);
}
template <class T>
void relu_backward_array(const T* y, const T* dout, T* dx, index_t n) {
  map<T>(
      dx, n,
      [](Vec<T> out, Vec<T> d) NNEXT_LAMBDA { return out <= Vec<T>{} ? Vec<T>{} : flushed<T>(d); },
      y, dout);
}

template <class T>
void silu_backward_array(const T* x, const T* dout, T* dx, index_t n) {
  map<T>(
      dx, n, [](Vec<T> v, Vec<T> d) NNEXT_LAMBDA { return product<T>(d, silu_slope<T>(v)); }, x,
      dout);
}
template <class T>
void gelu_backward_array(const T* x, const T* dout, T* dx, index_t n) {
  map<T>(
      dx, n, [](Vec<T> v, Vec<T> d) NNEXT_LAMBDA { return product<T>(d, gelu_slope<T>(v)); }, x,
      dout);
}
template <class T>
void gelu_tanh_backward_array(const T* x, const T* dout, T* dx, index_t n) {
  map<T>(
      dx, n, [](Vec<T> v, Vec<T> d) NNEXT_LAMBDA { return product<T>(d, gelu_tanh_slope<T>(v)); },
      x, dout);
}

template <class T>
void add_array(T* sum, const T* x, index_t n) {
  map<T>(sum, n, [](Vec<T> s, Vec<T> v) NNEXT_LAMBDA { return s + v; }, sum, x);
}
template <class T>
void scale_array(T* x, index_t n, T factor) {
  const Factor<T> f(factor);
  map<T>(x, n, [&f](Vec<T> v) NNEXT_LAMBDA { return times<T>(v, f); }, x);
}

// Philox 4x32 with 10 rounds (Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011):
// 128 random bits that are a function of the key and the counter alone, so that element i of a
// stream is the same whoever computes it.
struct Philox {
  std::uint32_t word[4];

  NNEXT_INLINE Philox(std::uint64_t seed, std::uint64_t counter) {
    std::uint32_t key0 = static_cast<std::uint32_t>(seed);
    std::uint32_t key1 = static_cast<std::uint32_t>(seed >> 32);
    std::uint32_t c0 = static_cast<std::uint32_t>(counter);
    std::uint32_t c1 = static_cast<std::uint32_t>(counter >> 32);
    std::uint32_t c2 = 0;
    std::uint32_t c3 = 0;
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
      const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c0;
      const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * c2;
      c0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ key0;
      c1 = static_cast<std::uint32_t>(p1);
      c2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ key1;
      c3 = static_cast<std::uint32_t>(p0);
      key0 += 0x9E3779B9u;
      key1 += 0xBB67AE85u;
    }
    word[0] = c0;
    word[1] = c1;
    word[2] = c2;
    word[3] = c3;
  }
};

// What was kept, times the scale. Without a branch an element: a random mask mispredicts it.
template <class T>
void dropout_backward_array(const T* dout, const std::uint8_t* mask, T* dx, index_t n, T scale) {
  constexpr int kVector = Simd<T>::lanes;
  const Factor<T> factor(scale);
  const auto of_kept = [&](Vec<T> d, const std::uint8_t* kept_bytes) NNEXT_LAMBDA {
    const Vec<T> scaled = times<T>(d, factor);
    return load_bytes<T>(kept_bytes) != 0 ? scaled : Vec<T>{};
  };
  index_t i = 0;
  for (; i + kVector <= n; i += kVector) store<T>(dx + i, of_kept(load<T>(dout + i), mask + i));
  if (i < n) {
    std::uint8_t last[kVector] = {};
    for (index_t j = 0; i + j < n; ++j) last[j] = mask[i + j];
    store_partial<T>(dx + i, of_kept(load_partial<T>(dout + i, n - i, T{0}), last), n - i);
  }
}

// Element first + i of the stream is kept when its random word is at least `threshold`. Word w of
// block b is element 4 b + w; blocks are computed kBlocks at a time, one to a lane, for speed.
template <class T>
void dropout_array(const T* x, T* y, std::uint8_t* mask, index_t n, std::uint64_t seed,
                   std::uint64_t first, std::uint32_t threshold, T scale) {
  constexpr int kBlocks = 16;
  index_t i = 0;
  while (i < n) {
    const std::uint64_t element = first + static_cast<std::uint64_t>(i);
    std::uint32_t words[4 * kBlocks];
    for (int block = 0; block < kBlocks; ++block) {
      const Philox random(seed, element / 4 + static_cast<std::uint64_t>(block));
      for (int w = 0; w < 4; ++w) words[4 * block + w] = random.word[w];
    }
    const int skip = static_cast<int>(element % 4);
    const index_t left = n - i;
    const int count = left < 4 * kBlocks - skip ? static_cast<int>(left) : 4 * kBlocks - skip;
    for (int j = 0; j < count; ++j) mask[i + j] = words[skip + j] >= threshold ? 1 : 0;
    dropout_backward_array<T>(x + i, mask + i, y + i, count, scale);
    i += count;
  }
}

}  // namespace
}  // namespace NNEXT_SIMD
}  // namespace nnext
