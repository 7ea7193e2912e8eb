// Element-by-element operations: ranges cut among threads.
#include "nnext/elementwise.h"

#include <limits>

#include "dispatch.h"
#include "grain.h"
#include "nnext/threads.h"

namespace nnext {

template <class T>
void apply(Unary f, const T* x, T* y, index_t n) {
  const Kernels<T>& table = kernels<T>();
  const auto function = f == Unary::kExp        ? table.exp
                        : f == Unary::kLog      ? table.log
                        : f == Unary::kSigmoid  ? table.sigmoid
                        : f == Unary::kTanh     ? table.tanh
                        : f == Unary::kSilu     ? table.silu
                        : f == Unary::kGelu     ? table.gelu
                        : f == Unary::kGeluTanh ? table.gelu_tanh
                                                : table.relu;
  const index_t grain = f == Unary::kRelu ? kLightGrain : kHeavyGrain;
  parallel_ranges(n, grain, kLineElements,
                  [&](index_t begin, index_t end) { function(x + begin, y + begin, end - begin); });
}

template <class T>
void apply_backward(Unary f, const T* remembered, const T* dout, T* dx, index_t n) {
  const Kernels<T>& table = kernels<T>();
  const auto function = f == Unary::kSigmoid    ? table.sigmoid_backward
                        : f == Unary::kTanh     ? table.tanh_backward
                        : f == Unary::kSilu     ? table.silu_backward
                        : f == Unary::kGelu     ? table.gelu_backward
                        : f == Unary::kGeluTanh ? table.gelu_tanh_backward
                                                : table.relu_backward;
  const index_t grain = remembers_input(f) ? kHeavyGrain : kLightGrain;
  parallel_ranges(n, grain, kLineElements, [&](index_t begin, index_t end) {
    function(remembered + begin, dout + begin, dx + begin, end - begin);
  });
}

// Whether it is relu: also where the slope counts as 0 because it is below the normal range.
template <class T>
bool leaks_nothing(T negative_slope) {
  return negative_slope < std::numeric_limits<T>::min();
}

template <class T>
void leaky_relu(const T* x, T* y, index_t n, T negative_slope) {
  if (leaks_nothing(negative_slope)) return apply(Unary::kRelu, x, y, n);
  const Kernels<T>& table = kernels<T>();
  parallel_ranges(n, kLightGrain, kLineElements, [&](index_t begin, index_t end) {
    table.leaky_relu(x + begin, y + begin, end - begin, negative_slope);
  });
}

template <class T>
void leaky_relu_backward(const T* y, const T* dout, T* dx, index_t n, T negative_slope) {
  if (leaks_nothing(negative_slope)) return apply_backward(Unary::kRelu, y, dout, dx, n);
  const Kernels<T>& table = kernels<T>();
  parallel_ranges(n, kLightGrain, kLineElements, [&](index_t begin, index_t end) {
    table.leaky_relu_backward(y + begin, dout + begin, dx + begin, end - begin, negative_slope);
  });
}

template <class T>
void softcap(T* x, index_t n, T cap) {
  const Kernels<T>& table = kernels<T>();
  parallel_ranges(n, kHeavyGrain, kLineElements,
                  [&](index_t begin, index_t end) { table.softcap(x + begin, end - begin, cap); });
}

template <class T>
void dropout(const T* x, T* y, std::uint8_t* mask, index_t n, double ratio, std::uint64_t seed,
             std::uint64_t first) {
  const Kernels<T>& table = kernels<T>();
  const auto threshold = static_cast<std::uint32_t>(ratio * 0x1p32);
  const T scale = static_cast<T>(1.0 / (1.0 - ratio));
  parallel_ranges(n, kHeavyGrain, 64, [&](index_t begin, index_t end) {
    table.dropout(x + begin, y + begin, mask + begin, end - begin, seed,
                  first + static_cast<std::uint64_t>(begin), threshold, scale);
  });
}

template <class T>
void dropout_backward(const T* dout, const std::uint8_t* mask, T* dx, index_t n, double ratio) {
  const Kernels<T>& table = kernels<T>();
  const T scale = static_cast<T>(1.0 / (1.0 - ratio));
  parallel_ranges(n, kLightGrain, kLineElements, [&](index_t begin, index_t end) {
    table.dropout_backward(dout + begin, mask + begin, dx + begin, end - begin, scale);
  });
}

#define NNEXT_INSTANTIATE(T)                                                            \
  template void apply<T>(Unary, const T*, T*, index_t);                                 \
  template void apply_backward<T>(Unary, const T*, const T*, T*, index_t);              \
  template void leaky_relu<T>(const T*, T*, index_t, T);                                \
  template void leaky_relu_backward<T>(const T*, const T*, T*, index_t, T);             \
  template void softcap<T>(T*, index_t, T);                                             \
  template void dropout<T>(const T*, T*, std::uint8_t*, index_t, double, std::uint64_t, \
                           std::uint64_t);                                              \
  template void dropout_backward<T>(const T*, const std::uint8_t*, T*, index_t, double)
NNEXT_INSTANTIATE(float);
NNEXT_INSTANTIATE(double);
#undef NNEXT_INSTANTIATE

}  // namespace nnext
