// Gather and scatter-add of rows.
#include "nnext/embedding.h"

#include <algorithm>
#include <cstdint>

#include "dispatch.h"
#include "grain.h"
#include "nnext/threads.h"
#include "scatter.h"

namespace nnext {

template <class T>
void embedding(const T* w, index_t row_stride, const std::int64_t* index, index_t n, index_t width,
               T* out) {
  parallel_ranges(n, kLightGrain / (width + 1) + 1, 1, [&](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      std::copy_n(w + index[i] * row_stride, width, out + i * width);
    }
  });
}

template <class T>
void embedding_backward(const T* dout, const std::int64_t* index, index_t n, index_t width, T* dw,
                        index_t rows, index_t row_stride, SumInto into) {
  const Kernels<T>& table = kernels<T>();
  scatter_add<T>(index, n, width, dw, rows, row_stride, into,
                 [&](T* sum, index_t i, index_t j, index_t cols) {
                   table.add(sum, dout + i * width + j, cols);
                 });
}

#define NNEXT_INSTANTIATE(T)                                                                \
  template void embedding<T>(const T*, index_t, const std::int64_t*, index_t, index_t, T*); \
  template void embedding_backward<T>(const T*, const std::int64_t*, index_t, index_t, T*,  \
                                      index_t, index_t, SumInto)
NNEXT_INSTANTIATE(float);
NNEXT_INSTANTIATE(double);
#undef NNEXT_INSTANTIATE

}  // namespace nnext
