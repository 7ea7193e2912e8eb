// Softmax and its losses: rows cut among threads, losses summed in order.
#include "nnext/softmax.h"

#include <algorithm>
#include <vector>

#include "dispatch.h"
#include "grain.h"
#include "nnext/threads.h"

namespace nnext {
namespace {

index_t row_grain(index_t grain, index_t cols) { return std::max<index_t>(1, grain / (cols + 1)); }

double sum_in_order(const double* values, index_t n) {
  double sum = 0;
  for (index_t i = 0; i < n; ++i) sum += values[i];
  return sum;
}

// `n` doubles: on the stack for the sizes of a mini-batch, where an allocation would show.
class Losses {
 public:
  explicit Losses(index_t n) {
    if (n > kSmall) large_.resize(static_cast<std::size_t>(n));
  }
  double* data() { return large_.empty() ? small_ : large_.data(); }

 private:
  static constexpr index_t kSmall = 256;
  double small_[kSmall];
  std::vector<double> large_;
};

}  // namespace

template <class T>
void softmax(const T* x, T* y, index_t rows, index_t cols) {
  const Kernels<T>& table = kernels<T>();
  parallel_ranges(rows, row_grain(kHeavyGrain, cols), 1, [&](index_t begin, index_t end) {
    table.softmax(x + begin * cols, y + begin * cols, end - begin, cols, nullptr, nullptr);
  });
}

template <class T>
void best_class(const T* x, std::int64_t* best, index_t rows, index_t cols) {
  const Kernels<T>& table = kernels<T>();
  parallel_ranges(rows, row_grain(kLightGrain, cols), 1, [&](index_t begin, index_t end) {
    table.best(x + begin * cols, best + begin, end - begin, cols);
  });
}

template <class T>
void softmax_backward(const T* y, const T* dout, T* dx, index_t rows, index_t cols) {
  const Kernels<T>& table = kernels<T>();
  parallel_ranges(rows, row_grain(kLightGrain, cols), 1, [&](index_t begin, index_t end) {
    const index_t at = begin * cols;
    table.softmax_backward(y + at, dout + at, dx + at, end - begin, cols);
  });
}

template <class T>
double cross_entropy_error(const T* y, const RowLabels<T>& labels, index_t rows, index_t cols) {
  constexpr double kDelta = 1e-7;  // the book's, against log(0)
  Losses losses(rows);
  double* loss = losses.data();
  // Logarithms a vector at a time: of the labels' probabilities, and of soft rows one by one.
  Losses logs(labels.soft != nullptr ? cols : 0);
  for (index_t n = 0; n < rows; ++n) {
    const T* const soft = labels.soft_row(n);
    loss[n] = soft != nullptr ? 1 : static_cast<double>(y[n * cols + labels.index[n]]) + kDelta;
  }
  kernels<double>().log(loss, loss, rows);
  for (index_t n = 0; labels.soft != nullptr && n < rows; ++n) {
    const T* const soft = labels.soft_row(n);
    if (soft == nullptr) continue;
    double* const log = logs.data();
    for (index_t c = 0; c < cols; ++c) log[c] = static_cast<double>(y[n * cols + c]) + kDelta;
    kernels<double>().log(log, log, cols);
    for (index_t c = 0; c < cols; ++c) {
      if (soft[c] != 0) loss[n] += static_cast<double>(soft[c]) * log[c];
    }
  }
  return -sum_in_order(loss, rows) / static_cast<double>(rows);
}

#define NNEXT_INSTANTIATE(T)                                                   \
  template void softmax<T>(const T*, T*, index_t, index_t);                    \
  template void best_class<T>(const T*, std::int64_t*, index_t, index_t);      \
  template void softmax_backward<T>(const T*, const T*, T*, index_t, index_t); \
  template double cross_entropy_error<T>(const T*, const RowLabels<T>&, index_t, index_t)
NNEXT_INSTANTIATE(float);
NNEXT_INSTANTIATE(double);
#undef NNEXT_INSTANTIATE

}  // namespace nnext
