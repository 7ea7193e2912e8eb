// The same bits of the matrix product and the linear layer: see same_bits_test.cpp.
#include <utility>

#include "matrix.h"
#include "nnext/matmul.h"
#include "same_bits.h"

namespace nnext::test {
namespace {

template <class T>
class SameBitsOfProducts : public SameBits<T> {};
TYPED_TEST_SUITE(SameBitsOfProducts, Reals, RealNames);

struct Sizes {
  index_t m, k, n;
};

std::string matmul_name(const Sizes& s) { return "matmul" + text({s.m, s.k, s.n}); }

// A matrix of drawn numbers, element (i, j) the same in every layout.
template <class T>
Matrix<T> drawn_matrix(index_t rows, index_t cols, const Layout& layout, std::uint64_t seed) {
  Matrix<T> x(rows, cols, layout);
  for (index_t i = 0; i < rows; ++i) {
    for (index_t j = 0; j < cols; ++j) x(i, j) = drawn<T>(seed, i * cols + j);
  }
  return x;
}

template <class T>
Array<T> elements(const Matrix<T>& x) {
  Array<T> all(x.rows() * x.cols());
  for (index_t i = 0; i < x.rows(); ++i) {
    for (index_t j = 0; j < x.cols(); ++j) all[i * x.cols() + j] = x(i, j);
  }
  return all;
}

// Rows [begin, begin + count) of a matrix.
template <class T>
MatrixView<T> rows_of(MatrixView<T> x, index_t begin, index_t count) {
  return {x.data + begin * x.row_stride, count, x.cols, x.row_stride, x.col_stride};
}

TYPED_TEST(SameBitsOfProducts, MatrixProductInSlicesAndMicroBatches) {
  using T = TypeParam;
  // few rows, narrow, around tiles, k beyond a block, a weight that streams from memory, k short
  for (const Sizes& s :
       {Sizes{1, 10, 10}, Sizes{3, 7, 3}, Sizes{40, 300, 5}, Sizes{63, 65, 67}, Sizes{32, 64, 100},
        Sizes{24, 2100, 40}, Sizes{3, 700, 400}, Sizes{300, 4, 200}, Sizes{4, 1030, 3}}) {
    const Matrix<T> a = drawn_matrix<T>(s.m, s.k, kRowMajor, /*seed=*/1);
    const Matrix<T> b = drawn_matrix<T>(s.k, s.n, kRowMajor, /*seed=*/2);
    const std::string name = matmul_name(s);
    Array<T> c(s.m * s.n);
    const auto view = [&] { return MatrixView<T>{c.data(), s.m, s.n, s.n, 1}; };
    this->expect_recorded_rows(
        name, s.m,
        [&](index_t begin, index_t count) {
          matmul<T>(rows_of(a.view(), begin, count), b.view(), rows_of(view(), begin, count));
        },
        c);
    this->expect_recorded(
        name, "gathered over micro-batches",
        [&] {
          const index_t cut = s.k / 3 + 1;
          const MatrixView<const T> across = a.view().transposed();
          matmul<T>(rows_of(across, 0, cut).transposed(), rows_of(b.view(), 0, cut), view());
          matmul<T>(rows_of(across, cut, s.k - cut).transposed(), rows_of(b.view(), cut, s.k - cut),
                    view(), nullptr, SumInto::kContinue);
        },
        c);
  }
}

TYPED_TEST(SameBitsOfProducts, MatrixProductInEveryLayout) {
  using T = TypeParam;
  for (const Sizes& s : {Sizes{3, 7, 3}, Sizes{40, 300, 5}, Sizes{63, 65, 67}, Sizes{3, 700, 400},
                         Sizes{300, 4, 200}, Sizes{4, 1030, 3}}) {
    const ThreadsInUse in_use(3);
    for (const Layout& la : {kRowMajor, kTransposed, kLayouts[4]}) {
      for (const Layout& lb : {kRowMajor, kTransposed, kLayouts[4]}) {
        const Matrix<T> a = drawn_matrix<T>(s.m, s.k, la, /*seed=*/1);
        const Matrix<T> b = drawn_matrix<T>(s.k, s.n, lb, /*seed=*/2);
        Matrix<T> c(s.m, s.n, la.by_columns ? kTransposed : kPadded);
        Array<T> result(s.m * s.n);
        this->expect_recorded(
            matmul_name(s), std::string(la.name) + " times " + lb.name,
            [&] {
              matmul<T>(a.view(), b.view(), c.view());
              result = elements(c);
            },
            result);
      }
    }
  }
}

// Large enough for packed operands in all three orientations.
TYPED_TEST(SameBitsOfProducts, LargeMatrixProduct) {
  using T = TypeParam;
  const Sizes s{260, 1100, 200};
  for (const Layout& la : {kRowMajor, kTransposed}) {
    for (const Layout& lb : {kRowMajor, kTransposed}) {
      const Matrix<T> a = drawn_matrix<T>(s.m, s.k, la, /*seed=*/1);
      const Matrix<T> b = drawn_matrix<T>(s.k, s.n, lb, /*seed=*/2);
      Array<T> c(s.m * s.n);
      this->expect_recorded_rows(
          matmul_name(s), s.m,
          [&](index_t begin, index_t count) {
            matmul<T>(rows_of(a.view(), begin, count), b.view(),
                      rows_of(MatrixView<T>{c.data(), s.m, s.n, s.n, 1}, begin, count));
          },
          c);
    }
  }
}

TYPED_TEST(SameBitsOfProducts, AffineForward) {
  using T = TypeParam;
  const Sizes s{70, 90, 50};
  const Matrix<T> x = drawn_matrix<T>(s.m, s.k, kRowMajor, /*seed=*/1);
  const Matrix<T> w = drawn_matrix<T>(s.k, s.n, kRowMajor, /*seed=*/2);
  const Array<T> bias = drawn_array<T>(s.n, /*seed=*/3);
  Array<T> y(s.m * s.n);
  this->expect_recorded_rows(
      "affine" + text({s.m, s.k, s.n}), s.m,
      [&](index_t begin, index_t count) {
        matmul<T>(rows_of(x.view(), begin, count), w.view(),
                  {y.data() + begin * s.n, count, s.n, s.n, 1}, bias.data());
      },
      y);
}

}  // namespace
}  // namespace nnext::test
