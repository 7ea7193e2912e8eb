// The tiles for few rows of C (columns of B contiguous) and the transposition.
#include "matrix.h"
#include "page_end.h"

namespace nnext::test {
namespace {

// Runs `function` on operands filled by `draw`, B in the layout given, against the ordered chain.
template <class T>
testing::AssertionResult check_few_rows(TileFunction<T> function, int rows, index_t k, int cols,
                                        const Layout& a_layout, bool plus, T (*draw)(Random&)) {
  const Matrix<T> a(rows, k, a_layout, /*seed=*/1, draw);
  const Matrix<T> b(k, cols, kTransposed, /*seed=*/2, draw);
  const Array<T> bias(plus ? cols : 0, /*seed=*/3, draw);
  const Array<T> row_bias(rows, /*seed=*/6, draw);
  const Matrix<T> start(rows, cols, kPadded, /*seed=*/4, draw);
  Matrix<T> c(rows, cols, kPadded);
  if (plus) c = start;
  Array<T> expected = ordered_chain(a, b, Array<T>(0), plus ? &start : nullptr);
  for (int i = 0; i < rows; ++i) {
    for (int j = 0; j < cols; ++j) {
      T& value = expected[i * cols + j];
      if (plus) value = (value + row_bias[i]) + bias[j];
    }
  }
  const MatrixView<const T> b_view = b.view();
  function({.k = k,
            .a = a.view().data,
            .a_row_stride = a.view().row_stride,
            .a_col_stride = a.view().col_stride,
            .b = b_view.data,
            .b_row_stride = b_view.col_stride,
            .c = c.view().data,
            .c_row_stride = c.view().row_stride,
            .cols = cols,
            .bias = plus ? bias.data() : nullptr,
            .row_bias = plus ? row_bias.data() : nullptr,
            .into = continued(plus)});
  const testing::AssertionResult result = c.holds(expected);
  if (result) return result;
  return testing::AssertionFailure()
         << rows << " rows, " << cols << " columns, k = " << k << ", A " << a_layout.name
         << ", plus " << plus << ": " << result.message();
}

class FewRows : public IsaTest {};
NNEXT_EVERY_ISA(FewRows);

TEST_P(FewRows, ColumnTilesAreTheOrderedChain) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    const int lanes = kernels.lanes;
    for (int rows = 1; rows <= kMaxColumnTileRows; ++rows) {
      for (const int cols : {0, 1, lanes - 1, lanes, lanes + 1, 2 * lanes, 3 * lanes + 2}) {
        for (const int k : {0, 1, lanes - 1, lanes, lanes + 1, 2 * lanes, 3 * lanes + 1}) {
          for (const bool plus : {false, true}) {
            ASSERT_TRUE(check_few_rows(kernels.column_tile[rows], rows, k, cols,
                                       plus ? kTransposed : kRowMajor, plus, &real_number<T>));
          }
        }
      }
    }
  });
}

TEST_P(FewRows, ColumnTilesTouchNothingPastTheirOperands) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for (int cols = 1; cols <= 2 * kernels.lanes; ++cols) {
      for (const index_t k : {1, kernels.lanes, kernels.lanes + 1}) {
        PageEnd<T> a(k, T{1});
        PageEnd<T> b(k * cols, T{1});
        PageEnd<T> c(cols, T{2});
        kernels.column_tile[1]({.k = k,
                                .a = a.data(),
                                .a_row_stride = k,
                                .a_col_stride = 1,
                                .b = b.data(),
                                .b_row_stride = k,
                                .c = c.data(),
                                .c_row_stride = cols,
                                .cols = cols,
                                .bias = nullptr,
                                .into = SumInto::kContinue});
        ASSERT_EQ(c.data()[cols - 1], static_cast<T>(k + 2));
      }
    }
  });
}

TEST_P(FewRows, TransposeMovesEveryElementAndNoOther) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    const int lanes = kernels.lanes;
    for (const int rows : {0, 1, lanes - 1, lanes, lanes + 1, 2 * lanes + 3}) {
      for (const int cols : {0, 1, lanes - 1, lanes, lanes + 1, 3 * lanes + 2}) {
        const Matrix<T> from(rows, cols, kPadded, /*seed=*/7, &any_number<T>);
        Matrix<T> to(cols, rows, kPadded);
        kernels.transpose(from.view().data, from.view().row_stride, rows, cols, to.view().data,
                          to.view().row_stride);
        Array<T> expected(index_t{rows} * cols);
        for (int j = 0; j < cols; ++j) {
          for (int i = 0; i < rows; ++i) expected[j * rows + i] = from(i, j);
        }
        ASSERT_TRUE(to.holds(expected)) << rows << " x " << cols;
      }
    }
  });
}

}  // namespace
}  // namespace nnext::test
