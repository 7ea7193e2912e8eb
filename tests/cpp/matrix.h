// Matrices of any layout, and the two references of the matrix product.
#pragma once

#include <string>
#include <vector>

#include "nnext/sum.h"
#include "support.h"

namespace nnext::test {

// How a matrix lies in memory. Rows are contiguous unless a member says otherwise.
struct Layout {
  const char* name;
  bool by_columns = false;   // columns are contiguous instead
  index_t step = 1;          // from an element to its neighbour
  index_t gap = 0;           // elements of nobody between two rows (or columns)
  bool flip_rows = false;    // last row first: a negative stride
  bool flip_cols = false;    // last column first
  bool repeat_rows = false;  // row stride 0: every row is the first
};

inline constexpr Layout kRowMajor{.name = "row-major"};
inline constexpr Layout kPadded{.name = "row-major, padded", .gap = 5};
inline constexpr Layout kTransposed{.name = "transposed", .by_columns = true};
inline constexpr Layout kLayouts[] = {
    kRowMajor,
    kPadded,
    kTransposed,
    {.name = "transposed, padded", .by_columns = true, .gap = 3},
    {.name = "every third element", .step = 3, .gap = 1},
    {.name = "every second element, transposed", .by_columns = true, .step = 2},
    {.name = "rows reversed", .flip_rows = true},
    {.name = "columns reversed", .gap = 2, .flip_cols = true},
    {.name = "transposed, reversed", .by_columns = true, .flip_rows = true, .flip_cols = true},
    {.name = "one row repeated", .repeat_rows = true},
};
// Those that a result may have.
inline constexpr Layout kResultLayouts[] = {
    kRowMajor,
    kPadded,
    kTransposed,
    {.name = "transposed, padded", .by_columns = true, .gap = 3},
    {.name = "rows reversed", .gap = 1, .flip_rows = true},
    {.name = "transposed, columns reversed", .by_columns = true, .flip_cols = true},
};

// A matrix in memory of canaries; its elements too are canaries until they are drawn or written.
template <class T>
class Matrix {
 public:
  Matrix(index_t rows, index_t cols, const Layout& layout)
      : rows_(rows), cols_(cols), memory_(memory_size(rows, cols, layout)) {
    const index_t outer = outer_stride(rows, cols, layout);
    row_stride_ = layout.by_columns ? layout.step : outer;
    col_stride_ = layout.by_columns ? outer : layout.step;
    if (layout.repeat_rows) row_stride_ = 0;
    if (layout.flip_rows && rows > 0) {
      origin_ += (rows - 1) * row_stride_;
      row_stride_ = -row_stride_;
    }
    if (layout.flip_cols && cols > 0) {
      origin_ += (cols - 1) * col_stride_;
      col_stride_ = -col_stride_;
    }
  }
  Matrix(index_t rows, index_t cols, const Layout& layout, std::uint64_t seed, T (*draw)(Random&))
      : Matrix(rows, cols, layout) {
    Random random(seed);
    for (index_t i = 0; i < rows; ++i) {
      for (index_t j = 0; j < cols; ++j) (*this)(i, j) = draw(random);
    }
  }

  index_t rows() const { return rows_; }
  index_t cols() const { return cols_; }
  T& operator()(index_t i, index_t j) { return memory_[at(i, j)]; }
  const T& operator()(index_t i, index_t j) const { return memory_[at(i, j)]; }
  MatrixView<T> view() {
    return {memory_.data() + origin_, rows_, cols_, row_stride_, col_stride_};
  }
  MatrixView<const T> view() const {
    return {memory_.data() + origin_, rows_, cols_, row_stride_, col_stride_};
  }

  // Holds `expected` (its elements row by row) bit by bit, and nothing between its rows, before or
  // after it was written.
  testing::AssertionResult holds(const Array<T>& expected) const {
    std::vector<bool> mine(static_cast<std::size_t>(memory_.size()));
    for (index_t i = 0; i < rows_; ++i) {
      for (index_t j = 0; j < cols_; ++j) {
        mine[static_cast<std::size_t>(at(i, j))] = true;
        const T wanted = expected[i * cols_ + j];
        if (same(wanted, (*this)(i, j))) continue;
        return testing::AssertionFailure()
               << std::hexfloat << "element (" << i << ", " << j << ") of (" << rows_ << ", "
               << cols_ << "): expected " << wanted << ", got " << (*this)(i, j);
      }
    }
    for (index_t i = 0; i < memory_.size(); ++i) {
      if (!mine[static_cast<std::size_t>(i)] && bits_of(memory_[i]) != bits_of(canary<T>())) {
        return testing::AssertionFailure() << "memory between the elements was written, at " << i;
      }
    }
    return memory_.guards_intact();
  }

 private:
  static index_t outer_stride(index_t rows, index_t cols, const Layout& layout) {
    return (layout.by_columns ? rows : cols) * layout.step + layout.gap;
  }
  static index_t memory_size(index_t rows, index_t cols, const Layout& layout) {
    return (layout.by_columns ? cols : rows) * outer_stride(rows, cols, layout);
  }
  index_t at(index_t i, index_t j) const { return origin_ + i * row_stride_ + j * col_stride_; }

  index_t rows_;
  index_t cols_;
  Array<T> memory_;
  index_t origin_ = 0;
  index_t row_stride_ = 0;
  index_t col_stride_ = 0;
};

// What a sum does with its result: goes on with what is there if `on`, else overwrites it.
inline SumInto continued(bool on) { return on ? SumInto::kContinue : SumInto::kOverwrite; }

// The specification of a sum by nnext/sum.h: chain(first, count, from) is one chain of terms.
template <class T, class Chain>
T sum_by_the_rule(index_t k, SumInto into, T start, const Chain& chain) {
  if (into == SumInto::kAdd) return start + sum_by_the_rule(k, SumInto::kOverwrite, T{0}, chain);
  const bool goes_on = into == SumInto::kContinue;
  if (k <= kLongestChain) return chain(index_t{0}, k, goes_on ? start : T{0});
  T total = start;
  for (index_t first = 0; first < k; first += kSumBlock) {
    const T block = chain(first, std::min(kSumBlock, k - first), T{0});
    total = first == 0 && !goes_on ? block : total + block;
  }
  return total;
}

// The specification of the product: every element a sum by the rule, whose chains are fused
// multiply-adds in the order of k; the bias (unless it has no elements) added last. `start` is what
// C held, null for kOverwrite.
template <class T>
Array<T> ordered_chain(const Matrix<T>& a, const Matrix<T>& b, const Array<T>& bias,
                       const Matrix<T>* start = nullptr, SumInto into = SumInto::kContinue) {
  Array<T> c(a.rows() * b.cols());
  for (index_t i = 0; i < a.rows(); ++i) {
    for (index_t j = 0; j < b.cols(); ++j) {
      const auto chain = [&](index_t first, index_t count, T sum) {
        for (index_t p = first; p < first + count; ++p) sum = std::fma(a(i, p), b(p, j), sum);
        return sum;
      };
      const T sum = start == nullptr ? sum_by_the_rule(a.cols(), SumInto::kOverwrite, T{0}, chain)
                                     : sum_by_the_rule(a.cols(), into, (*start)(i, j), chain);
      c[i * b.cols() + j] = bias.size() > 0 ? sum + bias[j] : sum;
    }
  }
  return c;
}

// The naive triple loop in float64.
template <class T>
Array<T> triple_loop(const Matrix<T>& a, const Matrix<T>& b, const Array<T>& bias,
                     const Matrix<T>* start = nullptr, SumInto /*into*/ = SumInto::kContinue) {
  Array<T> c(a.rows() * b.cols());
  for (index_t i = 0; i < a.rows(); ++i) {
    for (index_t j = 0; j < b.cols(); ++j) {
      double sum = bias.size() > 0 ? static_cast<double>(bias[j]) : 0.0;
      if (start != nullptr) sum += static_cast<double>((*start)(i, j));
      for (index_t p = 0; p < a.cols(); ++p) {
        sum += static_cast<double>(a(i, p)) * static_cast<double>(b(p, j));
      }
      c[i * b.cols() + j] = static_cast<T>(sum);
    }
  }
  return c;
}

}  // namespace nnext::test
