// Functions of one element and their gradients, over n contiguous elements; the output may be an
// input. Accuracy: exp and log at most 1 ULP, sigmoid, tanh, silu and gelu 2. Except in
// log, a number below the smallest normal one counts as zero with its sign, given or computed; of
// the product in a gradient also one that is less than an eighth above.
#pragma once

#include <cstdint>

#include "nnext/types.h"

namespace nnext {

enum class Unary { kExp, kLog, kSigmoid, kTanh, kRelu, kSilu, kGelu, kGeluTanh };

// y = f(x). relu keeps NaN and gives +0 for -0. silu: x sigmoid(x); gelu: x Phi(x), Phi being the
// normal distribution; gelu_tanh: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), all three -0 at
// -inf.
template <class T>
void apply(Unary f, const T* x, T* y, index_t n);

// x = cap tanh(x / cap) in place: scores within (-cap, cap) (Gemma Team 2024). cap > 0.
template <class T>
void softcap(T* x, index_t n, T cap);

// Whether the gradient is computed from x, not from y.
constexpr bool remembers_input(Unary f) {
  return f == Unary::kSilu || f == Unary::kGelu || f == Unary::kGeluTanh;
}

// dx from y = f(x) and dout, for kSigmoid: dout y (1 - y), kTanh: dout (1 - y^2), kRelu: dout where
// y > 0 (or NaN), else 0; from x and dout for kSilu, kGelu and kGeluTanh: dout f'(x), where f' is
// -0 at -inf and 1 at inf. kExp and kLog have none.
template <class T>
void apply_backward(Unary f, const T* remembered, const T* dout, T* dx, index_t n);

// y = x where x > 0 (or NaN), else negative_slope x (Maas et al. 2013). negative_slope >= 0 and
// finite; with 0 it is relu.
template <class T>
void leaky_relu(const T* x, T* y, index_t n, T negative_slope);

// dx = dout where y > 0 (or NaN), else negative_slope dout: with such a slope the sign of y is that
// of x.
template <class T>
void leaky_relu_backward(const T* y, const T* dout, T* dx, index_t n, T negative_slope);

// Inverted dropout (Srivastava et al. 2014): mask[i] is 1 with probability 1 - ratio, else 0,
// and y = mask x / (1 - ratio). Element i draws number first + i of the stream `seed`, a Philox
// 4x32-10 sequence: the same mask for any number of threads or slicing. 0 <= ratio < 1.
template <class T>
void dropout(const T* x, T* y, std::uint8_t* mask, index_t n, double ratio, std::uint64_t seed,
             std::uint64_t first);

// dx = mask dout / (1 - ratio); a mask that is not 0 counts as 1.
template <class T>
void dropout_backward(const T* dout, const std::uint8_t* mask, T* dx, index_t n, double ratio);

}  // namespace nnext
