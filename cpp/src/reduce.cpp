// Sums: independent results cut among threads, never one sum.
#include "nnext/reduce.h"

#include "dispatch.h"
#include "grain.h"
#include "nnext/threads.h"

namespace nnext {

template <class T>
void sum_axis(const T* x, T* sums, index_t outer, index_t axis, index_t inner) {
  const Kernels<T>& table = kernels<T>();
  if (inner == 1) {
    parallel_ranges(outer, kLightGrain / (axis + 1) + 1, 1, [&](index_t begin, index_t end) {
      table.row_sums(x + begin * axis, sums + begin, end - begin, axis);
    });
    return;
  }
  for (index_t o = 0; o < outer; ++o) {
    const T* block = x + o * axis * inner;
    T* to = sums + o * inner;
    parallel_ranges(inner, kLightGrain / (axis + 1) + 1, 4 * kLineElements,
                    [&](index_t begin, index_t end) {
                      table.column_sums(block + begin, inner, to + begin, axis, end - begin);
                    });
  }
}

template <class T>
double sum_of_squares(const T* x, index_t n) {
  return kernels<T>().sum_of_squares(x, n);
}

template <class T>
void scale(T* x, index_t n, T factor) {
  const Kernels<T>& table = kernels<T>();
  parallel_ranges(n, kLightGrain, kLineElements,
                  [&](index_t begin, index_t end) { table.scale(x + begin, end - begin, factor); });
}

#define NNEXT_INSTANTIATE(T)                                          \
  template void sum_axis<T>(const T*, T*, index_t, index_t, index_t); \
  template double sum_of_squares<T>(const T*, index_t);               \
  template void scale<T>(T*, index_t, T)
NNEXT_INSTANTIATE(float);
NNEXT_INSTANTIATE(double);
#undef NNEXT_INSTANTIATE

}  // namespace nnext
