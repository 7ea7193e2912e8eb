// The whole matrix product: blocking, packing, edges, layouts and threads.
#include "nnext/matmul.h"

#include <utility>

#include "matrix.h"
#include "page_end.h"

namespace nnext::test {
namespace {

template <class T>
class Matmul : public testing::Test {};
TYPED_TEST_SUITE(Matmul, Reals, RealNames);

// Sizes on both sides of every height and width of a tile, and of powers of two.
constexpr index_t kHeights[] = {0,  1,  2,  5,  6,  7,  11, 12, 13, 14, 15, 23,
                                25, 28, 29, 47, 48, 49, 63, 64, 65, 95, 96, 97};
constexpr index_t kWidths[] = {0,  1,  2,  3,  4,  5,  7,  8,  9,  15, 16,  17,
                               31, 32, 33, 47, 48, 49, 63, 64, 65, 95, 127, 129};

template <class T>
struct Case {
  index_t m;
  index_t n;
  index_t k;
  Layout a_layout = kRowMajor;
  Layout b_layout = kRowMajor;
  Layout c_layout = kPadded;
  bool bias = false;
  SumInto into = SumInto::kOverwrite;
  T (*draw)(Random&) = &real_number<T>;
};

// Computes the product of a case and compares it bit by bit with the ordered chain, or, for whole
// numbers, with the triple loop.
template <class T>
testing::AssertionResult check(const Case<T>& test) {
  const Matrix<T> a(test.m, test.k, test.a_layout, /*seed=*/11, test.draw);
  const Matrix<T> b(test.k, test.n, test.b_layout, /*seed=*/12, test.draw);
  const Array<T> bias(test.bias ? test.n : 0, /*seed=*/13, test.draw);
  const Matrix<T> start(test.m, test.n, test.c_layout, /*seed=*/14, test.draw);
  Matrix<T> c(test.m, test.n, test.c_layout);
  const bool reads = test.into != SumInto::kOverwrite;
  if (reads) c = start;
  const auto reference = test.draw == &whole_number<T> ? &triple_loop<T> : &ordered_chain<T>;
  const Array<T> expected = reference(a, b, bias, reads ? &start : nullptr, test.into);
  matmul<T>(a.view(), b.view(), c.view(), test.bias ? bias.data() : nullptr, test.into);
  const testing::AssertionResult result = c.holds(expected);
  if (result) return result;
  return testing::AssertionFailure()
         << "(" << test.m << ", " << test.k << ") " << test.a_layout.name << " times (" << test.k
         << ", " << test.n << ") " << test.b_layout.name << " to " << test.c_layout.name
         << ", bias " << test.bias << ", into " << static_cast<int>(test.into) << ": "
         << result.message();
}

TYPED_TEST(Matmul, WholeNumbersAreExactAroundEveryEdge) {
  for (const index_t m : kHeights) {
    for (const index_t n : kWidths) {
      for (const index_t k : {0, 1, 17}) {
        ASSERT_TRUE(check<TypeParam>({.m = m, .n = n, .k = k, .draw = &whole_number<TypeParam>}));
      }
    }
  }
}

TYPED_TEST(Matmul, RealsAreTheOrderedChainAroundEveryEdge) {
  for (const index_t m : kHeights) {
    for (const index_t n : kWidths) {
      const bool odd = (m + n) % 2 != 0;
      ASSERT_TRUE(check<TypeParam>({.m = m, .n = n, .k = 9, .bias = odd}));
      ASSERT_TRUE(check<TypeParam>({.m = m,
                                    .n = n,
                                    .k = 10,
                                    .b_layout = kTransposed,
                                    .bias = odd,
                                    .into = continued(!odd)}));
    }
  }
}

TYPED_TEST(Matmul, LongSumsAreOneChainAcrossBlocksOfK) {
  for (const index_t k : {127, 128, 129, 255,  256,  257,  383,  385,  511,  512,
                          513, 767, 769, 1023, 1024, 1025, 2047, 2048, 2049, 3073}) {
    for (const index_t m : {1, 5, 49}) {
      const bool odd = k % 2 != 0;
      ASSERT_TRUE(check<TypeParam>({.m = m, .n = 17, .k = k, .bias = odd, .into = continued(odd)}));
      ASSERT_TRUE(
          check<TypeParam>({.m = m, .n = 1, .k = k, .a_layout = kTransposed, .bias = true}));
    }
  }
}

TYPED_TEST(Matmul, WideAndTallResultsAreRightAcrossBlocks) {
  for (const index_t size :
       {191, 192, 193, 255, 257, 511, 512, 513, 1023, 1024, 1025, 2047, 2049}) {
    for (const index_t other : {1, 3, 50}) {
      ASSERT_TRUE(check<TypeParam>({.m = other, .n = size, .k = 5, .bias = true}));
      ASSERT_TRUE(check<TypeParam>({.m = size, .n = other, .k = 5, .b_layout = kTransposed}));
    }
  }
}

TYPED_TEST(Matmul, EveryLayoutOfOperandsAndResult) {
  constexpr struct {
    index_t m, n, k;
  } kSizes[] = {{1, 1, 1}, {3, 19, 7}, {50, 33, 20}, {7, 64, 5}};
  for (const auto& size : kSizes) {
    for (const Layout& a : kLayouts) {
      for (const Layout& b : kLayouts) {
        for (const Layout& c : kResultLayouts) {
          for (const SumInto into : {SumInto::kOverwrite, SumInto::kContinue, SumInto::kAdd}) {
            ASSERT_TRUE(check<TypeParam>({.m = size.m,
                                          .n = size.n,
                                          .k = size.k,
                                          .a_layout = a,
                                          .b_layout = b,
                                          .c_layout = c,
                                          .bias = !c.by_columns && into == SumInto::kContinue,
                                          .into = into}));
          }
        }
      }
    }
  }
}

TYPED_TEST(Matmul, InfinitiesNansAndZerosAreTheOrderedChain) {
  for (const index_t k : {0, 1, 2, 3}) {
    for (const index_t m : {1, 13, 49}) {
      ASSERT_TRUE(check<TypeParam>({.m = m,
                                    .n = 35,
                                    .k = k,
                                    .bias = true,
                                    .into = continued(k % 2 != 0),
                                    .draw = &special_number<TypeParam>}));
    }
  }
}

TYPED_TEST(Matmul, WithoutSummandsWritesPlusZeroAndBias) {
  using T = TypeParam;
  for (const bool with_bias : {false, true}) {
    const Matrix<T> a(3, 0, kRowMajor);
    const Matrix<T> b(0, 4, kRowMajor);
    Array<T> bias(4);
    for (index_t j = 0; j < 4; ++j) bias[j] = static_cast<T>(j + 1);
    Matrix<T> c(3, 4, kPadded);
    Array<T> expected(12);
    for (index_t i = 0; i < 12; ++i) expected[i] = with_bias ? bias[i % 4] : T{0};
    matmul<T>(a.view(), b.view(), c.view(), with_bias ? bias.data() : nullptr);
    EXPECT_TRUE(c.holds(expected));
  }
}

TYPED_TEST(Matmul, NanTouchesItsOwnRowAndColumnAlone) {
  using T = TypeParam;
  Matrix<T> a(20, 30, kRowMajor, /*seed=*/1, &real_number<T>);
  Matrix<T> b(30, 40, kRowMajor, /*seed=*/2, &real_number<T>);
  a(7, 3) = kNan<T>;
  b(5, 39) = kNan<T>;
  Matrix<T> c(20, 40, kRowMajor);
  matmul<T>(std::as_const(a).view(), std::as_const(b).view(), c.view());
  for (index_t i = 0; i < 20; ++i) {
    for (index_t j = 0; j < 40; ++j) {
      EXPECT_EQ(std::isnan(c(i, j)), i == 7 || j == 39) << i << ", " << j;
    }
  }
}

TYPED_TEST(Matmul, ErrorIsWithinTheStatedBound) {
  using T = TypeParam;
  constexpr index_t kSize = 60;
  constexpr index_t kDepth = 700;
  const Matrix<T> a(kSize, kDepth, kRowMajor, /*seed=*/1, &real_number<T>);
  const Matrix<T> b(kDepth, kSize, kRowMajor, /*seed=*/2, &real_number<T>);
  Matrix<T> c(kSize, kSize, kRowMajor);
  matmul<T>(a.view(), b.view(), c.view());
  for (index_t i = 0; i < kSize; ++i) {
    for (index_t j = 0; j < kSize; ++j) {
      long double sum = 0;
      long double size = 0;
      for (index_t p = 0; p < kDepth; ++p) {
        const long double product = static_cast<long double>(a(i, p)) * b(p, j);
        sum += product;
        size += std::abs(product);
      }
      ASSERT_LE(std::abs(c(i, j) - sum), kDepth * kUnit<T> * size) << i << ", " << j;
    }
  }
}

// A large product cheaply (Freivalds): C t = A (B t), exact for whole numbers.
TYPED_TEST(Matmul, LargeProductAgreesWithItsProductByAVector) {
  using T = TypeParam;
  constexpr index_t kRows = 301;
  constexpr index_t kCols = 1100;
  constexpr index_t kDepth = 1200;
  const Matrix<T> a(kRows, kDepth, kRowMajor, /*seed=*/1, &whole_number<T>);
  const Matrix<T> b(kDepth, kCols, kRowMajor, /*seed=*/2, &whole_number<T>);
  const Array<double> t(kCols, /*seed=*/3, &whole_number<double>);
  Matrix<T> c(kRows, kCols, kRowMajor);
  matmul<T>(a.view(), b.view(), c.view());
  Array<double> b_t(kDepth);
  for (index_t p = 0; p < kDepth; ++p) {
    b_t[p] = 0;
    for (index_t j = 0; j < kCols; ++j) b_t[p] += static_cast<double>(b(p, j)) * t[j];
  }
  for (index_t i = 0; i < kRows; ++i) {
    double c_t = 0;
    double a_b_t = 0;
    for (index_t j = 0; j < kCols; ++j) c_t += static_cast<double>(c(i, j)) * t[j];
    for (index_t p = 0; p < kDepth; ++p) a_b_t += static_cast<double>(a(i, p)) * b_t[p];
    ASSERT_EQ(c_t, a_b_t) << "row " << i;
  }
}

template <class T>
Matrix<T> product_on(int threads, const Matrix<T>& a, const Matrix<T>& b) {
  const ThreadsInUse in_use(threads);
  Matrix<T> c(a.rows(), b.cols(), kPadded);
  matmul<T>(a.view(), b.view(), c.view());
  return c;
}

template <class T>
Array<T> elements_of(const Matrix<T>& matrix) {
  Array<T> elements(matrix.rows() * matrix.cols());
  for (index_t i = 0; i < elements.size(); ++i) {
    elements[i] = matrix(i / matrix.cols(), i % matrix.cols());
  }
  return elements;
}

TYPED_TEST(Matmul, ThreadsDoNotChangeTheBits) {
  using T = TypeParam;
  constexpr struct {
    index_t m, n, k;
  } kSizes[] = {{150, 160, 170}, {1, 3000, 900}, {3001, 2, 700}, {40, 1300, 64}, {700, 33, 100}};
  for (const auto& size : kSizes) {
    for (const Layout& b_layout : {kRowMajor, kTransposed}) {
      const Matrix<T> a(size.m, size.k, kRowMajor, /*seed=*/1, &real_number<T>);
      const Matrix<T> b(size.k, size.n, b_layout, /*seed=*/2, &real_number<T>);
      const Array<T> alone = elements_of(product_on(1, a, b));
      for (const int threads : {2, 3, 8}) {
        ASSERT_TRUE(product_on(threads, a, b).holds(alone))
            << threads << " threads, " << size.m << " x " << size.n << " x " << size.k;
      }
    }
  }
}

TYPED_TEST(Matmul, RowsComputedApartAreTheRowsOfTheWhole) {
  using T = TypeParam;
  const Matrix<T> a(131, 77, kRowMajor, /*seed=*/1, &real_number<T>);
  const Matrix<T> b(77, 50, kRowMajor, /*seed=*/2, &real_number<T>);
  Matrix<T> whole(131, 50, kRowMajor);
  matmul<T>(a.view(), b.view(), whole.view());
  for (const index_t batch : {1, 2, 13, 48, 100}) {
    Matrix<T> parts(131, 50, kRowMajor);
    for (index_t row = 0; row < 131; row += batch) {
      MatrixView<const T> some = a.view();
      MatrixView<T> out = parts.view();
      some.data += row * some.row_stride;
      out.data += row * out.row_stride;
      some.rows = out.rows = std::min<index_t>(batch, 131 - row);
      matmul<T>(some, b.view(), out);
    }
    ASSERT_TRUE(parts.holds(elements_of(whole))) << "batches of " << batch;
  }
}

// dW = x^T dout over a batch, and gathered over its micro-batches.
TYPED_TEST(Matmul, GradientGatheredOverMicroBatchesIsThatOfTheWhole) {
  using T = TypeParam;
  const Matrix<T> x(1100, 37, kRowMajor, /*seed=*/1, &real_number<T>);
  const Matrix<T> dout(1100, 21, kRowMajor, /*seed=*/2, &real_number<T>);
  Matrix<T> whole(37, 21, kRowMajor);
  matmul<T>(x.view().transposed(), dout.view(), whole.view());
  for (const index_t batch : {1, 7, 512, 1099}) {
    Matrix<T> gathered(37, 21, kRowMajor);
    for (index_t row = 0; row < 1100; row += batch) {
      MatrixView<const T> some_x = x.view();
      MatrixView<const T> some_dout = dout.view();
      some_x.data += row * some_x.row_stride;
      some_dout.data += row * some_dout.row_stride;
      some_x.rows = some_dout.rows = std::min<index_t>(batch, 1100 - row);
      matmul<T>(some_x.transposed(), some_dout, gathered.view(), nullptr, continued(row > 0));
    }
    ASSERT_TRUE(gathered.holds(elements_of(whole))) << "batches of " << batch;
  }
}

TYPED_TEST(Matmul, TouchesNothingPastItsOperands) {
  using T = TypeParam;
  for (const index_t m : {1, 5, 60}) {
    for (const index_t n : {1, 7, 8, 9, 16, 17, 32, 63}) {
      for (const bool transposed : {false, true}) {
        constexpr index_t kDepth = 4;
        PageEnd<T> a(m * kDepth, T{1});
        PageEnd<T> b(kDepth * n, T{1});
        PageEnd<T> c(m * n, T{0});
        PageEnd<T> bias(n, T{1});
        const MatrixView<const T> left{a.data(), m, kDepth, kDepth, 1};
        const MatrixView<const T> right{b.data(), kDepth, n, transposed ? 1 : n,
                                        transposed ? kDepth : 1};
        matmul<T>(left, right, {c.data(), m, n, n, 1}, bias.data());
        EXPECT_EQ(c.data()[m * n - 1], T{5}) << m << " x " << n;
      }
    }
  }
}

}  // namespace
}  // namespace nnext::test
