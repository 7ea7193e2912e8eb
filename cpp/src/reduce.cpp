// Sums: independent results cut among threads, never one sum.
#include "nnext/reduce.h"

#include <algorithm>

#include "dispatch.h"
#include "grain.h"
#include "nnext/threads.h"
#include "sum_blocks.h"

namespace nnext {
namespace {

// Columns whose sums, those of a block and the totals, lie on the stack: 16 KiB of each at most.
constexpr index_t kColumns = 2048;

// Sums of up to kColumns columns.
template <class T>
void sum_columns(const T* x, index_t row_stride, T* sums, index_t rows, index_t cols,
                 SumInto into) {
  const Kernels<T>& table = kernels<T>();
  if (into == SumInto::kAdd) {
    T sum[kColumns];
    sum_columns(x, row_stride, sum, rows, cols, SumInto::kOverwrite);
    table.add(sums, sum, cols);
    return;
  }
  for_sum_blocks(rows, into, [&](index_t first, index_t count, SumInto block) {
    const T* const from = x + first * row_stride;
    if (block != SumInto::kAdd) {
      table.column_sums(from, row_stride, sums, count, cols, block == SumInto::kContinue);
      return;
    }
    T chain[kColumns];
    table.column_sums(from, row_stride, chain, count, cols, /*accumulate=*/false);
    table.add(sums, chain, cols);
  });
}

}  // namespace

template <class T>
void sum_axis(const T* x, T* sums, index_t outer, index_t axis, index_t inner) {
  if (inner == 1) {
    const Kernels<T>& table = kernels<T>();
    parallel_ranges(outer, kLightGrain / (axis + 1) + 1, 1, [&](index_t begin, index_t end) {
      table.row_sums(x + begin * axis, sums + begin, end - begin, axis);
    });
    return;
  }
  for (index_t o = 0; o < outer; ++o) {
    sum_rows(x + o * axis * inner, inner, sums + o * inner, axis, inner);
  }
}

template <class T>
void sum_rows(const T* x, index_t row_stride, T* sums, index_t rows, index_t cols, SumInto into) {
  parallel_ranges(
      cols, kLightGrain / (rows + 1) + 1, 4 * kLineElements, [&](index_t begin, index_t end) {
        for (index_t j = begin; j < end; j += kColumns) {
          sum_columns(x + j, row_stride, sums + j, rows, std::min(kColumns, end - j), into);
        }
      });
}

template <class T>
double sum_of_squares(const T* x, index_t n, double factor) {
  return kernels<T>().sum_of_squares(x, n, factor);
}

template <class T>
void scale(T* x, index_t n, T factor) {
  const Kernels<T>& table = kernels<T>();
  parallel_ranges(n, kLightGrain, kLineElements,
                  [&](index_t begin, index_t end) { table.scale(x + begin, end - begin, factor); });
}

#define NNEXT_INSTANTIATE(T)                                                   \
  template void sum_axis<T>(const T*, T*, index_t, index_t, index_t);          \
  template void sum_rows<T>(const T*, index_t, T*, index_t, index_t, SumInto); \
  template double sum_of_squares<T>(const T*, index_t, double);                \
  template void scale<T>(T*, index_t, T)
NNEXT_INSTANTIATE(float);
NNEXT_INSTANTIATE(double);
#undef NNEXT_INSTANTIATE

}  // namespace nnext
