// Losses of single scores: rows cut among threads.
#include "nnext/element_loss.h"

#include <algorithm>

#include "dispatch.h"
#include "grain.h"
#include "nnext/threads.h"

namespace nnext {
namespace {

// Calls work(first, count) for rows; of one column in whole cache lines.
template <class Work>
void for_rows(index_t rows, index_t cols, index_t grain, const Work& work) {
  const index_t grain_rows = std::max<index_t>(1, grain / std::max<index_t>(1, cols));
  parallel_ranges(rows, grain_rows, cols == 1 ? kLineElements : 1,
                  [&](index_t begin, index_t end) { work(begin, end - begin); });
}

}  // namespace

template <class T>
void element_loss(const ElementLoss<T>& loss, const T* x, const T* t, T* y, index_t rows,
                  index_t cols, double* loss_of_row) {
  const Kernels<T>& table = kernels<T>();
  const bool is_heavy = loss.kind == LossKind::kPoisson || loss.kind == LossKind::kBinary;
  for_rows(rows, cols, is_heavy ? kHeavyGrain : kLightGrain, [&](index_t first, index_t count) {
    const index_t at = first * cols;
    table.element_loss(loss, x + at, t + at, y + at, count, cols, loss_of_row + first);
  });
}

template <class T>
void element_loss_backward(const ElementLoss<T>& loss, const T* y, const T* t, const double* factor,
                           T* dx, index_t rows, index_t cols) {
  const Kernels<T>& table = kernels<T>();
  for_rows(rows, cols, kLightGrain, [&](index_t first, index_t count) {
    const index_t at = first * cols;
    table.element_loss_backward(loss, y + at, t + at, factor + first, dx + at, count, cols);
  });
}

#define NNEXT_INSTANTIATE(T)                                                                       \
  template void element_loss<T>(const ElementLoss<T>&, const T*, const T*, T*, index_t, index_t,   \
                                double*);                                                          \
  template void element_loss_backward<T>(const ElementLoss<T>&, const T*, const T*, const double*, \
                                         T*, index_t, index_t)
NNEXT_INSTANTIATE(float);
NNEXT_INSTANTIATE(double);
#undef NNEXT_INSTANTIATE

}  // namespace nnext
