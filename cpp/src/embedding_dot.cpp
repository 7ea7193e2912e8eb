// Dot products with rows of a table. Scores and the gradient of the rows are cut among threads by
// rows, the gradient of the table by its own.
#include "nnext/embedding_dot.h"

#include <algorithm>

#include "dispatch.h"
#include "grain.h"
#include "nnext/threads.h"
#include "scatter.h"

namespace nnext {
namespace {

index_t grain_rows(index_t count, index_t width) { return kLightGrain / (count * width + 1) + 1; }

}  // namespace

template <class T>
void embedding_dot(const T* h, const T* w, index_t row_stride, const std::int64_t* index, index_t n,
                   index_t count, index_t width, T* scores) {
  const Kernels<T>& table = kernels<T>();
  parallel_ranges(n, grain_rows(count, width), 1, [&](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      table.row_dots(h + i * width, w, row_stride, index + i * count, count, width,
                     scores + i * count);
    }
  });
}

template <class T>
void embedding_dot_backward(const T* dscores, const T* h, const T* w, index_t row_stride,
                            const std::int64_t* index, index_t n, index_t count, index_t width,
                            T* dh, T* dw, index_t rows, index_t dw_stride, SumInto into) {
  const Kernels<T>& table = kernels<T>();
  parallel_ranges(n, grain_rows(count, width), 1, [&](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      T* const row = dh + i * width;
      std::fill_n(row, width, T{0});
      for (index_t at = i * count; at < (i + 1) * count; ++at) {
        table.add_multiple(row, w + index[at] * row_stride, dscores[at], width);
      }
    }
  });
  scatter_add<T>(index, n * count, width, dw, rows, dw_stride, into,
                 [&](T* sum, index_t at, index_t j, index_t cols) {
                   table.add_multiple(sum, h + at / count * width + j, dscores[at], cols);
                 });
}

#define NNEXT_INSTANTIATE(T)                                                                      \
  template void embedding_dot<T>(const T*, const T*, index_t, const std::int64_t*, index_t,       \
                                 index_t, index_t, T*);                                           \
  template void embedding_dot_backward<T>(const T*, const T*, const T*, index_t,                  \
                                          const std::int64_t*, index_t, index_t, index_t, T*, T*, \
                                          index_t, index_t, SumInto)
NNEXT_INSTANTIATE(float);
NNEXT_INSTANTIATE(double);
#undef NNEXT_INSTANTIATE

}  // namespace nnext
