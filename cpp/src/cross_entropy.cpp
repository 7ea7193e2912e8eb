// Softmax with cross-entropy loss: rows cut among threads, ignored ones left out, the short way for
// the plain loss.
#include "nnext/cross_entropy.h"

#include <algorithm>

#include "dispatch.h"
#include "grain.h"
#include "nnext/threads.h"

namespace nnext {
namespace {

index_t row_grain(index_t grain, index_t cols) { return std::max<index_t>(1, grain / (cols + 1)); }

// Calls run(begin, end, counts) for each run of rows of one kind.
template <class T, class Run>
void for_each_run(const RowLabels<T>& labels, index_t begin, index_t end, const Run& run) {
  while (begin < end) {
    const bool counts = labels.counts(begin);
    index_t stop = begin + 1;
    while (stop < end && labels.counts(stop) == counts) ++stop;
    run(begin, stop, counts);
    begin = stop;
  }
}

// Rows [begin, end), one kind of label after another.
template <class T>
void cross_entropy_range(T* scores, index_t row_stride, index_t begin, index_t end, index_t cols,
                         const RowLabels<T>& labels, const LossTerms<T>& terms,
                         const double* factor, RowResult result, double* loss) {
  const Kernels<T>& table = kernels<T>();
  for_each_run(labels, begin, end, [&](index_t first, index_t stop, bool counts) {
    if (counts) {
      table.cross_entropy(scores + first * row_stride, row_stride, stop - first, cols,
                          labels.from(first), terms, factor != nullptr ? factor + first : nullptr,
                          result, loss + first);
      return;
    }
    for (index_t r = first; r < stop; ++r) {
      T* const row = scores + r * row_stride;
      constexpr std::int64_t kAnyLabel = 0;
      if (result == RowResult::kGradient) {
        std::fill_n(row, cols, T{0});
      } else if (cols > 0) {
        table.cross_entropy(row, row_stride, 1, cols, {&kAnyLabel}, terms, nullptr, result,
                            loss + r);
      }
      loss[r] = 0;
    }
  });
}

// Rows of the plain loss: the softmax kernel takes many rows at a time.
template <class T>
void plain_loss_range(const T* x, T* y, index_t begin, index_t end, index_t cols,
                      const RowLabels<T>& labels, double* loss) {
  const Kernels<T>& table = kernels<T>();
  for_each_run(labels, begin, end, [&](index_t first, index_t stop, bool counts) {
    const index_t at = first * cols;
    table.softmax(x + at, y + at, stop - first, cols, counts ? labels.index + first : nullptr,
                  counts ? loss + first : nullptr);
    if (!counts) std::fill(loss + first, loss + stop, 0.0);
  });
}

}  // namespace

template <class T>
void softmax_loss(const T* x, T* y, index_t rows, index_t cols, const RowLabels<T>& labels,
                  const LossTerms<T>& terms, double* loss) {
  const bool is_plain = terms.are_plain() && labels.soft == nullptr;
  parallel_ranges(rows, row_grain(kHeavyGrain, cols), 1, [&](index_t begin, index_t end) {
    if (is_plain) {
      plain_loss_range(x, y, begin, end, cols, labels, loss);
      return;
    }
    std::copy(x + begin * cols, x + end * cols, y + begin * cols);
    cross_entropy_range<T>(y, cols, begin, end, cols, labels, terms, nullptr,
                           RowResult::kProbabilities, loss);
  });
}

template <class T>
void softmax_loss_backward(const T* x, const T* y, T* dx, index_t rows, index_t cols,
                           const RowLabels<T>& labels, const LossTerms<T>& terms,
                           const double* factor) {
  const Kernels<T>& table = kernels<T>();
  const bool is_plain = terms.are_plain() && labels.soft == nullptr;
  const index_t grain = terms.need_scores() ? kHeavyGrain : kLightGrain;
  parallel_ranges(rows, row_grain(grain, cols), 1, [&](index_t begin, index_t end) {
    const auto losses = [&](index_t first, index_t stop, bool counts) {
      const index_t at = first * cols;
      const index_t n = stop - first;
      if (!counts) {
        std::fill_n(dx + at, n * cols, T{0});
      } else if (terms.need_scores()) {
        std::copy_n(x + at, n * cols, dx + at);
        double loss = 0;
        for (index_t r = first; r < stop; ++r) {
          table.cross_entropy(dx + r * cols, cols, 1, cols, labels.from(r), terms, factor + r,
                              RowResult::kGradient, &loss);
        }
      } else if (is_plain && std::all_of(factor + first, factor + stop,
                                         [&](double f) { return f == factor[first]; })) {
        table.softmax_loss_backward(y + at, labels.index + first, static_cast<T>(factor[first]),
                                    dx + at, n, cols);
      } else {
        table.cross_entropy_backward(y + at, dx + at, n, cols, labels.from(first), terms,
                                     factor + first);
      }
    };
    for_each_run(labels, begin, end, losses);
  });
}

template <class T>
void cross_entropy(T* scores, index_t row_stride, index_t rows, index_t cols,
                   const RowLabels<T>& labels, const LossTerms<T>& terms, const double* factor,
                   RowResult result, double* loss) {
  parallel_ranges(rows, row_grain(kHeavyGrain, cols), 1, [&](index_t begin, index_t end) {
    cross_entropy_range(scores, row_stride, begin, end, cols, labels, terms, factor, result, loss);
  });
}

#define NNEXT_INSTANTIATE(T)                                                                       \
  template void softmax_loss<T>(const T*, T*, index_t, index_t, const RowLabels<T>&,               \
                                const LossTerms<T>&, double*);                                     \
  template void softmax_loss_backward<T>(const T*, const T*, T*, index_t, index_t,                 \
                                         const RowLabels<T>&, const LossTerms<T>&, const double*); \
  template void cross_entropy<T>(T*, index_t, index_t, index_t, const RowLabels<T>&,               \
                                 const LossTerms<T>&, const double*, RowResult, double*)
NNEXT_INSTANTIATE(float);
NNEXT_INSTANTIATE(double);
#undef NNEXT_INSTANTIATE

}  // namespace nnext
