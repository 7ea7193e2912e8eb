// Layer norm and batch norm: rows or columns cut among threads, sums in an order of their own.
#include "nnext/normalize.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "dispatch.h"
#include "grain.h"
#include "nnext/threads.h"
#include "sum_blocks.h"

namespace nnext {
namespace {

index_t row_grain(index_t cols) { return std::max<index_t>(1, kLightGrain / (cols + 1)); }

// Zero with its sign for what is below the smallest normal T.
template <class T>
double normal(double x) {
  return std::abs(x) < static_cast<double>(std::numeric_limits<T>::min()) ? std::copysign(0.0, x)
                                                                          : x;
}
template <class T>
T rounded(double x) {
  return static_cast<T>(normal<T>(x));
}

// Columns that a thread takes at a time through all rows, so that what it needs of them lies on the
// stack, 8 KiB each, and the rows of a mini-batch, 1 MiB of 256 in float32, stay in the
// second-level cache from one pass to the next. Narrower strips read less than a page of each row
// at a time.
constexpr index_t kColumns = 1024;

template <class Strip>
void for_strips(index_t rows, index_t cols, const Strip& strip) {
  parallel_ranges(cols, kLightGrain / (rows + 1) + 1, 4 * kLineElements,
                  [&](index_t begin, index_t end) {
                    for (index_t j = begin; j < end; j += kColumns) {
                      strip(j, std::min(kColumns, end - j));
                    }
                  });
}

// Calls add(first row, count, sums) for blocks of rows, which adds to n sums; they begin with +0.
template <class Add>
void sum_in_blocks(index_t rows, double* sums, index_t n, const Add& add) {
  std::fill_n(sums, n, 0.0);
  for_sum_blocks(rows, SumInto::kOverwrite, [&](index_t first, index_t count, SumInto into) {
    if (into == SumInto::kOverwrite) {
      add(first, count, sums);
      return;
    }
    double block[2 * kColumns];
    std::fill_n(block, n, 0.0);
    add(first, count, block);
    kernels<double>().add(sums, block, n);
  });
}

std::vector<double> inverse_roots(const double* variance, double eps, index_t cols) {
  std::vector<double> rstd(static_cast<std::size_t>(cols));
  kernels<double>().inverse_root(variance, rstd.data(), cols, eps);
  return rstd;
}

}  // namespace

template <class T>
void layer_norm(const T* x, const T* gamma, const T* beta, double eps, T* y, double* mean,
                double* rstd, index_t rows, index_t cols) {
  if (cols == 0) {
    std::fill_n(mean, rows, 0.0);
    std::fill_n(rstd, rows, 0.0);
    return;
  }
  const Kernels<T>& table = kernels<T>();
  parallel_ranges(rows, row_grain(cols), 1, [&](index_t begin, index_t end) {
    const index_t at = begin * cols;
    table.layer_norm(x + at, gamma, beta, eps, y + at, mean + begin, rstd + begin, end - begin,
                     cols);
  });
}

template <class T>
void layer_norm_backward(const T* x, const T* gamma, const T* dout, const double* mean,
                         const double* rstd, T* dx, T* dgamma, T* dbeta, index_t rows,
                         index_t cols) {
  // To join the sums of 16 rows costs a fiftieth of what they cost themselves.
  constexpr index_t kBlock = 16;
  constexpr index_t kMostParts = 64;
  const index_t part_rows =
      kBlock * std::max<index_t>(1, (rows + kBlock * kMostParts - 1) / (kBlock * kMostParts));
  const index_t parts = (rows + part_rows - 1) / part_rows;
  std::vector<double> sums(static_cast<std::size_t>(2 * cols * std::max<index_t>(parts, 1)));
  const Kernels<T>& table = kernels<T>();
  const auto add_part = [&](index_t part) {
    double* const of_gamma = sums.data() + part * 2 * cols;
    const index_t end = std::min(rows, (part + 1) * part_rows);
    const index_t first = part * part_rows;
    const index_t at = first * cols;
    table.layer_norm_backward(x + at, dout + at, gamma, mean + first, rstd + first,
                              dx == nullptr ? nullptr : dx + at, of_gamma, of_gamma + cols,
                              end - first, cols);
  };
  if (cols == 0) return;
  parallel_ranges(parts, row_grain(cols * part_rows), 1, [&](index_t begin, index_t end) {
    for (index_t part = begin; part < end; ++part) add_part(part);
  });
  for (index_t part = 1; part < parts; ++part) {
    kernels<double>().add(sums.data(), sums.data() + part * 2 * cols, 2 * cols);
  }
  std::transform(sums.data(), sums.data() + cols, dgamma, &rounded<T>);
  std::transform(sums.data() + cols, sums.data() + 2 * cols, dbeta, &rounded<T>);
}

template <class T>
void column_moments(const T* x, double* mean, double* variance, index_t rows, index_t cols) {
  const Kernels<T>& table = kernels<T>();
  const auto count = static_cast<double>(rows);
  for_strips(rows, cols, [&](index_t first, index_t width) {
    double origin[kColumns];
    double sums[2 * kColumns];  // of distances from the origin, and of their squares
    const double* const squares = sums + width;
    const T* const from = x + first;
    double* const m = mean + first;
    double* const v = variance + first;
    const auto take_sums = [&] {
      sum_in_blocks(rows, sums, 2 * width, [&](index_t r, index_t n, double* into) {
        table.distances(from + r * cols, cols, origin, into, into + width, n, width);
      });
      for (index_t j = 0; j < width; ++j) {
        m[j] = normal<double>(origin[j] + normal<double>(sums[j] / count));
      }
    };
    for (index_t j = 0; j < width; ++j) origin[j] = normal<T>(static_cast<double>(from[j]));
    take_sums();
    if (sizeof(T) == 8 || rows > kLongestChain) {
      std::copy_n(m, width, origin);
      take_sums();
    }
    for (index_t j = 0; j < width; ++j) {
      const double about_mean = squares[j] - normal<double>(sums[j]) * (sums[j] / count);
      v[j] = about_mean < 0 ? 0 : normal<double>(about_mean / count);
    }
  });
}

template <class T>
void batch_norm(const T* x, const T* gamma, const T* beta, const double* mean,
                const double* variance, double eps, T* y, index_t rows, index_t cols) {
  std::vector<double> scale = inverse_roots(variance, eps, cols);
  std::vector<double> shift(scale.size());
  for (std::size_t j = 0; j < scale.size(); ++j) {
    scale[j] = normal<double>(scale[j] * normal<T>(static_cast<double>(gamma[j])));
    shift[j] = normal<T>(static_cast<double>(beta[j]));
  }
  const Kernels<T>& table = kernels<T>();
  parallel_ranges(rows, row_grain(cols), 1, [&](index_t begin, index_t end) {
    const index_t at = begin * cols;
    table.batch_norm(x + at, cols, mean, scale.data(), shift.data(), y + at, end - begin, cols);
  });
}

template <class T>
void batch_norm_backward(const T* x, const T* gamma, const T* dout, const double* mean,
                         const double* variance, double eps, Moments moments, T* dx, T* dgamma,
                         T* dbeta, index_t rows, index_t cols) {
  const std::vector<double> rstd = inverse_roots(variance, eps, cols);
  std::vector<double> scale(rstd.size());
  for (std::size_t j = 0; j < scale.size(); ++j) {
    scale[j] = normal<double>(rstd[j] * normal<T>(static_cast<double>(gamma[j])));
  }
  const bool is_constant = moments == Moments::kGiven;
  const std::vector<double> zeros(is_constant ? scale.size() : 0, 0.0);
  const std::vector<double> shift(zeros.size(), -0.0);  // which leaves a -0 what it is
  const Kernels<T>& table = kernels<T>();
  const auto count = static_cast<double>(rows);
  for_strips(rows, cols, [&](index_t first, index_t width) {
    double sums[2 * kColumns];  // of dout (x - mean), and of dout
    sum_in_blocks(rows, sums, 2 * width, [&](index_t r, index_t n, double* into) {
      const index_t at = r * cols + first;
      table.batch_norm_sums(x + at, dout + at, cols, mean + first, into, into + width, n, width);
    });
    const double* const s = rstd.data() + first;
    double slope[kColumns];
    double mean_dout[kColumns];
    for (index_t j = 0; j < width; ++j) {
      const double product = normal<double>(sums[j] * s[j]);
      dgamma[first + j] = rounded<T>(product);
      dbeta[first + j] = rounded<T>(sums[width + j]);
      slope[j] = normal<double>(normal<double>(product / count) * s[j]);
      mean_dout[j] = normal<double>(sums[width + j] / count);
    }
    if (dx == nullptr || is_constant) return;
    table.batch_norm_backward(x + first, dout + first, cols, mean + first, scale.data() + first,
                              mean_dout, slope, dx + first, rows, width);
  });
  if (dx == nullptr || !is_constant) return;
  parallel_ranges(rows, row_grain(cols), 1, [&](index_t begin, index_t end) {
    const index_t at = begin * cols;
    table.batch_norm(dout + at, cols, zeros.data(), scale.data(), shift.data(), dx + at,
                     end - begin, cols);
  });
}

template <class T>
void update_running(const double* mean, const double* variance, index_t rows, double momentum,
                    T* running_mean, T* running_variance, index_t cols) {
  const auto count = static_cast<double>(rows);
  const auto mixed = [momentum](T running, double batch) {
    return rounded<T>(momentum * normal<T>(static_cast<double>(running)) + (1 - momentum) * batch);
  };
  for (index_t j = 0; j < cols; ++j) {
    running_mean[j] = mixed(running_mean[j], mean[j]);
    if (rows < 2) continue;
    running_variance[j] = mixed(running_variance[j], variance[j] * (count / (count - 1)));
  }
}

#define NNEXT_INSTANTIATE(T)                                                                       \
  template void layer_norm<T>(const T*, const T*, const T*, double, T*, double*, double*, index_t, \
                              index_t);                                                            \
  template void layer_norm_backward<T>(const T*, const T*, const T*, const double*, const double*, \
                                       T*, T*, T*, index_t, index_t);                              \
  template void column_moments<T>(const T*, double*, double*, index_t, index_t);                   \
  template void batch_norm<T>(const T*, const T*, const T*, const double*, const double*, double,  \
                              T*, index_t, index_t);                                               \
  template void batch_norm_backward<T>(const T*, const T*, const T*, const double*, const double*, \
                                       double, Moments, T*, T*, T*, index_t, index_t);             \
  template void update_running<T>(const double*, const double*, index_t, double, T*, T*, index_t)
NNEXT_INSTANTIATE(float);
NNEXT_INSTANTIATE(double);
#undef NNEXT_INSTANTIATE

}  // namespace nnext
