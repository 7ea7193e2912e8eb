// Each register tile and the packing kernel of each instruction set, alone.
#include "matrix.h"
#include "page_end.h"

namespace nnext::test {
namespace {

class TileKernel : public IsaTest {};
NNEXT_EVERY_ISA(TileKernel);

// Calls check(vectors, rows) for every tile of the table.
template <class T, class Check>
void for_each_tile(const Kernels<T>& kernels, const Check& check) {
  for (int vectors = 1; vectors <= kernels.tile_vectors; ++vectors) {
    for (int rows = 1; rows <= kernels.tile_rows[vectors]; ++rows) check(vectors, rows);
  }
}

// Numbers of columns that a tile so wide takes: its last vector holds one, half a vector's (which
// has a tile of its own where kernels.has_halves) and one more, all but one, and all.
template <class T>
std::vector<int> tile_columns(const Kernels<T>& kernels, int vectors) {
  const int most = vectors * kernels.lanes;
  const int before = most - kernels.lanes;
  const int half = std::max(kernels.lanes / 2, 1);
  return {before + 1, before + half, std::min(before + half + 1, most),
          std::max(most - 1, before + 1), most};
}

template <class T>
using Reference = Array<T> (*)(const Matrix<T>&, const Matrix<T>&, const Array<T>&,
                               const Matrix<T>*, SumInto);

struct Size {
  int vectors;
  int rows;
  index_t k;
  int cols;
};

// Runs one tile on operands that `draw` fills and compares it with a reference.
template <class T>
testing::AssertionResult check_tile(const Kernels<T>& kernels, const Size& size,
                                    const Layout& a_layout, bool with_bias, SumInto into,
                                    T (*draw)(Random&), Reference<T> reference) {
  const Matrix<T> a(size.rows, size.k, a_layout, /*seed=*/1, draw);
  Matrix<T> b(size.k, size.vectors * kernels.lanes, kPadded, /*seed=*/2, draw);
  for (index_t p = 0; p < size.k; ++p) {
    for (index_t j = size.cols; j < b.cols(); ++j) b(p, j) = kNan<T>;  // read, but never seen
  }
  const Array<T> bias(with_bias ? size.cols : 0, /*seed=*/3, draw);
  Matrix<T> c(size.rows, size.cols, kPadded);
  const Matrix<T> start(size.rows, size.cols, kPadded, /*seed=*/4, draw);
  const bool reads = into != SumInto::kOverwrite;
  if (reads) c = start;
  Matrix<T> b_of_c(size.k, size.cols, kRowMajor);
  for (index_t p = 0; p < size.k; ++p) {
    for (index_t j = 0; j < size.cols; ++j) b_of_c(p, j) = b(p, j);
  }
  const Array<T> expected = reference(a, b_of_c, bias, reads ? &start : nullptr, into);

  const MatrixView<const T> a_view = a.view();
  const Tile<T> tile{.k = size.k,
                     .a = a_view.data,
                     .a_row_stride = a_view.row_stride,
                     .a_col_stride = a_view.col_stride,
                     .b = b.view().data,
                     .b_row_stride = b.view().row_stride,
                     .c = c.view().data,
                     .c_row_stride = c.view().row_stride,
                     .cols = size.cols,
                     .bias = with_bias ? bias.data() : nullptr,
                     .into = into};
  kernels.tile[size.vectors][size.rows](tile);
  const testing::AssertionResult result = c.holds(expected);
  if (result) return result;
  return testing::AssertionFailure()
         << size.rows << " rows, " << size.vectors << " vectors, " << size.cols
         << " columns, k = " << size.k << ", A " << a_layout.name << ", bias " << with_bias
         << ", into " << static_cast<int>(into) << ": " << result.message();
}

TEST_P(TileKernel, TableHasEveryTileItPromises) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    EXPECT_EQ(kernels.lanes & (kernels.lanes - 1), 0);
    ASSERT_GE(kernels.tile_vectors, 1);
    ASSERT_LE(kernels.tile_vectors, kMaxTileVectors);
    for (int vectors = 1; vectors <= kernels.tile_vectors; ++vectors) {
      EXPECT_GE(kernels.tile_rows[vectors], 1);
      EXPECT_LE(kernels.tile_rows[vectors], kMaxTileRows);
    }
    for_each_tile(kernels, [&](int vectors, int rows) {
      EXPECT_NE(kernels.tile[vectors][rows], nullptr) << vectors << " vectors, " << rows << " rows";
    });
  });
}

TEST_P(TileKernel, WholeNumbersAreExact) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for_each_tile(kernels, [&](int vectors, int rows) {
      for (const int cols : tile_columns(kernels, vectors)) {
        for (const index_t k : {0, 1, 2, 3, 19}) {
          for (const bool bias : {false, true}) {
            for (const SumInto into : {SumInto::kOverwrite, SumInto::kContinue, SumInto::kAdd}) {
              ASSERT_TRUE(check_tile(kernels, {vectors, rows, k, cols}, kRowMajor, bias, into,
                                     &whole_number<T>, &triple_loop<T>));
            }
          }
        }
      }
    });
  });
}

TEST_P(TileKernel, RealsAreTheOrderedChainInEveryLayoutOfA) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for_each_tile(kernels, [&](int vectors, int rows) {
      for (const Layout& layout : kLayouts) {
        for (const bool plus : {false, true}) {
          for (const int cols : tile_columns(kernels, vectors)) {
            ASSERT_TRUE(check_tile(kernels, {vectors, rows, 23, cols}, layout, plus,
                                   continued(plus), &real_number<T>, &ordered_chain<T>));
          }
        }
      }
    });
  });
}

TEST_P(TileKernel, InfinitiesNansZerosAndSubnormalsAreTheOrderedChain) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for_each_tile(kernels, [&](int vectors, int rows) {
      for (const index_t k : {0, 1, 2}) {
        for (const bool plus : {false, true}) {
          for (const int cols : tile_columns(kernels, vectors)) {
            ASSERT_TRUE(check_tile(kernels, {vectors, rows, k, cols}, kTransposed, plus,
                                   continued(plus), &special_number<T>, &ordered_chain<T>));
          }
        }
      }
    });
  });
}

// Three tiles in one call, one below the other or side by side, against three calls.
TEST_P(TileKernel, ACallComputesSeveralTiles) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    constexpr index_t kCount = 3;
    constexpr index_t kDepth = 5;
    for_each_tile(kernels, [&](int vectors, int rows) {
      for (const bool below : {true, false}) {
        const index_t width = index_t{vectors} * kernels.lanes;
        const index_t all_rows = rows * (below ? kCount : 1);
        const index_t all_cols = width * (below ? 1 : kCount);
        const Matrix<T> a(all_rows, kDepth, kRowMajor, /*seed=*/1, &real_number<T>);
        const Matrix<T> b(kDepth, all_cols, kRowMajor, /*seed=*/2, &real_number<T>);
        const Array<T> bias(all_cols, /*seed=*/3, &real_number<T>);
        const Array<T> row_bias(all_rows, /*seed=*/4, &real_number<T>);
        Matrix<T> together(all_rows, all_cols, kRowMajor, /*seed=*/5, &real_number<T>);
        Matrix<T> apart(together);
        Tile<T> tile{.k = kDepth,
                     .a = a.view().data,
                     .a_row_stride = a.view().row_stride,
                     .a_col_stride = a.view().col_stride,
                     .b = b.view().data,
                     .b_row_stride = b.view().row_stride,
                     .c = together.view().data,
                     .c_row_stride = together.view().row_stride,
                     .cols = width,
                     .bias = bias.data(),
                     .row_bias = row_bias.data(),
                     .into = SumInto::kContinue,
                     .count = kCount,
                     .a_step = below ? rows * a.view().row_stride : 0,
                     .b_step = below ? 0 : width,
                     .c_step = below ? rows * together.view().row_stride : width,
                     .bias_step = below ? 0 : width,
                     .row_bias_step = below ? rows : 0};
        kernels.tile[vectors][rows](tile);
        tile.c = apart.view().data;
        tile.count = 1;
        for (index_t i = 0; i < kCount; ++i) {
          kernels.tile[vectors][rows](tile);
          tile.a += tile.a_step;
          tile.b += tile.b_step;
          tile.c += tile.c_step;
          tile.bias += tile.bias_step;
          tile.row_bias += tile.row_bias_step;
        }
        for (index_t i = 0; i < all_rows; ++i) {
          for (index_t j = 0; j < all_cols; ++j) {
            ASSERT_EQ(together(i, j), apart(i, j))
                << vectors << " vectors, " << rows << " rows, below " << below;
          }
        }
      }
    });
  });
}

TEST_P(TileKernel, TouchesNothingPastItsOperands) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for_each_tile(kernels, [&](int vectors, int rows) {
      for (const int cols : tile_columns(kernels, vectors)) {
        constexpr index_t kDepth = 3;
        const int width = kernels.loads_parts ? cols : vectors * kernels.lanes;
        PageEnd<T> a(rows * kDepth, T{1});
        PageEnd<T> b(kDepth * width, T{1});
        PageEnd<T> c(rows * cols, T{1});
        PageEnd<T> bias(cols, T{1});
        kernels.tile[vectors][rows]({.k = kDepth,
                                     .a = a.data(),
                                     .a_row_stride = kDepth,
                                     .a_col_stride = 1,
                                     .b = b.data(),
                                     .b_row_stride = width,
                                     .c = c.data(),
                                     .c_row_stride = cols,
                                     .cols = cols,
                                     .bias = bias.data(),
                                     .into = SumInto::kContinue});
        EXPECT_EQ(c.data()[rows * cols - 1], T{5});
      }
    });
  });
}

class PackKernel : public IsaTest {};
NNEXT_EVERY_ISA(PackKernel);

// Packs k rows of `cols` columns into rows of `width` elements and compares every one of them.
template <class T>
testing::AssertionResult check_pack(const Kernels<T>& kernels, const Layout& layout, index_t k,
                                    index_t cols, index_t width) {
  const Matrix<T> b(k, cols, layout, /*seed=*/5, &any_number<T>);
  Array<T> expected(k * width);
  for (index_t p = 0; p < k; ++p) {
    for (index_t j = 0; j < width; ++j) expected[p * width + j] = j < cols ? b(p, j) : T{0};
  }
  Array<T> packed(k * width);
  const MatrixView<const T> view = b.view();
  kernels.pack(view.data, view.row_stride, view.col_stride, k, static_cast<int>(cols),
               packed.data(), width);
  if (same_bits(expected, packed) && packed.guards_intact()) return testing::AssertionSuccess();
  return testing::AssertionFailure()
         << layout.name << ", k = " << k << ", " << cols << " columns of " << width;
}

TEST_P(PackKernel, CopiesEveryLayoutAndPadsWithZeros) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    const int lanes = kernels.lanes;
    for (const Layout& layout : kLayouts) {
      for (int vectors = 1; vectors <= kernels.tile_vectors; ++vectors) {
        const index_t width = vectors * lanes;
        for (index_t cols = width - lanes + 1; cols <= width; ++cols) {
          for (const index_t k : {0, 1, 2, lanes - 1, lanes, lanes + 1, 3 * lanes + 1}) {
            ASSERT_TRUE(check_pack(kernels, layout, k, cols, width));
          }
        }
      }
    }
  });
}

// Groups of A may be no whole vectors wide: their neighbours' elements must stay.
TEST_P(PackKernel, WritesNoMoreThanItsStride) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for (const Layout& layout : kLayouts) {
      for (const index_t width : {1, 3, 5, 6, 12, 20}) {
        for (index_t cols = 1; cols <= width; ++cols) {
          for (const index_t k : {1, 2, 19}) {
            ASSERT_TRUE(check_pack(kernels, layout, k, cols, width));
          }
        }
      }
    }
  });
}

TEST_P(PackKernel, TouchesNothingPastItsOperands) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    const index_t width = kernels.tile_vectors * kernels.lanes;
    for (const index_t k : {index_t{1}, index_t{2}, width - 1, width, width + 1}) {
      for (index_t cols = width - kernels.lanes + 1; cols <= width; ++cols) {
        PageEnd<T> b(k * cols, T{1});
        PageEnd<T> packed(k * width, T{2});
        const auto pack = [&](index_t row_stride, index_t col_stride) {
          kernels.pack(b.data(), row_stride, col_stride, k, static_cast<int>(cols), packed.data(),
                       width);
          EXPECT_EQ(packed.data()[k * width - 1], cols == width ? T{1} : T{0});
        };
        pack(cols, 1);
        pack(1, k);
      }
    }
  });
}

}  // namespace
}  // namespace nnext::test
