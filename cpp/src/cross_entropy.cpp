// Cross entropy with options: rows cut among threads, ignored ones left out.
#include "nnext/cross_entropy.h"

#include <algorithm>

#include "dispatch.h"
#include "grain.h"
#include "nnext/threads.h"

namespace nnext {
namespace {

// Rows [begin, end), one kind of label after another.
template <class T>
void cross_entropy_range(T* scores, index_t row_stride, index_t begin, index_t end, index_t cols,
                         const std::int64_t* t, const LossTerms<T>& terms, const double* factor,
                         RowResult result, double* loss) {
  const Kernels<T>& table = kernels<T>();
  while (begin < end) {
    const bool counts = t[begin] >= 0;
    index_t stop = begin + 1;
    while (stop < end && (t[stop] >= 0) == counts) ++stop;
    T* const rows = scores + begin * row_stride;
    if (counts) {
      table.cross_entropy(rows, row_stride, stop - begin, cols, t + begin, terms,
                          factor != nullptr ? factor + begin : nullptr, result, loss + begin);
    } else {
      for (index_t r = begin; r < stop; ++r) {
        T* const row = scores + r * row_stride;
        constexpr std::int64_t kAnyLabel = 0;
        if (result == RowResult::kGradient) {
          std::fill_n(row, cols, T{0});
        } else if (cols > 0) {
          table.cross_entropy(row, row_stride, 1, cols, &kAnyLabel, terms, nullptr, result,
                              loss + r);
        }
        loss[r] = 0;
      }
    }
    begin = stop;
  }
}

}  // namespace

template <class T>
void cross_entropy(T* scores, index_t row_stride, index_t rows, index_t cols, const std::int64_t* t,
                   const LossTerms<T>& terms, const double* factor, RowResult result,
                   double* loss) {
  const index_t grain = std::max<index_t>(1, kHeavyGrain / (cols + 1));
  parallel_ranges(rows, grain, 1, [&](index_t begin, index_t end) {
    cross_entropy_range(scores, row_stride, begin, end, cols, t, terms, factor, result, loss);
  });
}

template void cross_entropy<float>(float*, index_t, index_t, index_t, const std::int64_t*,
                                   const LossTerms<float>&, const double*, RowResult, double*);
template void cross_entropy<double>(double*, index_t, index_t, index_t, const std::int64_t*,
                                    const LossTerms<double>&, const double*, RowResult, double*);

}  // namespace nnext
