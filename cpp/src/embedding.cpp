// Gather and scatter-add of rows. The gradient is cut among threads by rows of the table, each
// thread passing over all indices: every row is summed by one thread, in the order of the indices.
#include "nnext/embedding.h"

#include <algorithm>
#include <cstring>

#include "dispatch.h"
#include "grain.h"
#include "nnext/threads.h"

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
                        index_t rows, index_t row_stride) {
  const Kernels<T>& table = kernels<T>();
  const index_t work = (rows + n) * width;
  const index_t grain = work < 2 * kLightGrain ? rows : 1;
  parallel_ranges(rows, grain, 1, [&](index_t begin, index_t end) {
    for (index_t row = begin; row < end; ++row) std::fill_n(dw + row * row_stride, width, T{0});
    for (index_t i = 0; i < n; ++i) {
      if (index[i] < begin || index[i] >= end) continue;
      table.add(dw + index[i] * row_stride, dout + i * width, width);
    }
  });
}

#define NNEXT_INSTANTIATE(T)                                                                \
  template void embedding<T>(const T*, index_t, const std::int64_t*, index_t, index_t, T*); \
  template void embedding_backward<T>(const T*, const std::int64_t*, index_t, index_t, T*,  \
                                      index_t, index_t)
NNEXT_INSTANTIATE(float);
NNEXT_INSTANTIATE(double);
#undef NNEXT_INSTANTIATE

}  // namespace nnext
