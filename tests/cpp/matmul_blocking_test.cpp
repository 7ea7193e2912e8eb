// The ways through the blocked product that only large or thin operands take: packed A, several
// blocks of k and of columns, B streamed or read in columns, C by columns. Sizes follow blocking.h,
// so that these tests reach those ways whatever the constants are.
#include "blocking.h"
#include "matrix.h"
#include "nnext/matmul.h"

namespace nnext::test {
namespace {

template <class T>
class MatmulLarge : public testing::Test {};
TYPED_TEST_SUITE(MatmulLarge, Reals, RealNames);

struct Shape {
  index_t m;
  index_t k;
  index_t n;
};

// The product of real numbers on 1, 2 and 3 threads, bit by bit against the ordered chain.
template <class T>
void expect_chain(const Shape& shape, const Layout& a_layout, const Layout& b_layout,
                  const Layout& c_layout, SumInto into) {
  const Matrix<T> a(shape.m, shape.k, a_layout, /*seed=*/21, &real_number<T>);
  const Matrix<T> b(shape.k, shape.n, b_layout, /*seed=*/22, &real_number<T>);
  const Array<T> bias(shape.n, /*seed=*/23, &real_number<T>);
  const Matrix<T> start(shape.m, shape.n, c_layout, /*seed=*/24, &real_number<T>);
  const Array<T> expected =
      ordered_chain(a, b, bias, into != SumInto::kOverwrite ? &start : nullptr, into);
  for (const int threads : {1, 2, 3}) {
    const ThreadsInUse in_use(threads);
    Matrix<T> c(shape.m, shape.n, c_layout);
    if (into != SumInto::kOverwrite) c = start;
    matmul<T>(a.view(), b.view(), c.view(), bias.data(), into);
    EXPECT_TRUE(c.holds(expected))
        << shape.m << " x " << shape.k << " x " << shape.n << ", A " << a_layout.name << ", B "
        << b_layout.name << ", C " << c_layout.name << ", threads " << threads;
  }
}

// Rows of a transposed A so long that its k rows exceed the limit for reading it unpacked.
TYPED_TEST(MatmulLarge, PackedAIsTheOrderedChain) {
  using T = TypeParam;
  const index_t m = 3 * kMC + 2 * kPackedRows - 5;
  const index_t k = kUnpackedABytes / (m * index_t{sizeof(T)}) + kPackAK + 3;
  for (const SumInto into : {SumInto::kOverwrite, SumInto::kContinue, SumInto::kAdd}) {
    expect_chain<T>({m, k, 3 * kPackAColumns + 1}, kTransposed, kRowMajor, kRowMajor, into);
  }
  expect_chain<T>({m, k, kPackAColumns}, kTransposed, kTransposed, kRowMajor, SumInto::kOverwrite);
  expect_chain<T>({m, k, 3 * kPackAColumns}, kTransposed, kRowMajor, kTransposed,
                  SumInto::kContinue);
}

TYPED_TEST(MatmulLarge, SeveralBlocksOfKAreOneChain) {
  using T = TypeParam;
  for (const Layout& b_layout : {kRowMajor, kTransposed}) {
    expect_chain<T>({kUnpackedRows + 3, 2 * kKC + 5, 33}, kRowMajor, b_layout, kRowMajor,
                    SumInto::kOverwrite);
    expect_chain<T>({7, kKC + 1, 70}, kRowMajor, b_layout, kTransposed, SumInto::kContinue);
    expect_chain<T>({70, kKC + 1, 7}, kTransposed, b_layout, kRowMajor, SumInto::kContinue);
  }
}

TYPED_TEST(MatmulLarge, SeveralBlocksOfColumnsFitTogether) {
  using T = TypeParam;
  for (const Layout& b_layout : {kRowMajor, kTransposed}) {
    expect_chain<T>({2 * kMC + 1, 19, 2 * kNC + 7}, kRowMajor, b_layout, kRowMajor,
                    SumInto::kOverwrite);
  }
}

TYPED_TEST(MatmulLarge, FewRowsOfAStreamedBAreTheOrderedChain) {
  using T = TypeParam;
  const index_t n = 515;
  const index_t k = kStreamBytes / (n * index_t{sizeof(T)}) + kStreamKC + 3;
  for (index_t m = 1; m <= kStreamRows + 1; ++m) {
    expect_chain<T>({m, k, n}, kRowMajor, kRowMajor, kRowMajor, continued(m % 2 == 0));
    expect_chain<T>({m, k, n}, kTransposed, kRowMajor, kTransposed, continued(m % 2 == 1));
    expect_chain<T>({m, k, n}, kRowMajor, kTransposed, kRowMajor, continued(m % 2 == 1));
    expect_chain<T>({n, k, m}, kTransposed, kRowMajor, kRowMajor, continued(m % 2 == 0));
    expect_chain<T>({n, k, m}, kRowMajor, kTransposed, kTransposed, continued(m % 2 == 0));
  }
  const index_t wide = 2 * kStreamNC + 77;
  const index_t deep = kStreamBytes / (wide * index_t{sizeof(T)}) + kStreamKC + 3;
  expect_chain<T>({3, deep, wide}, kRowMajor, kRowMajor, kRowMajor, SumInto::kContinue);
  expect_chain<T>({kStreamRows, deep, wide}, kRowMajor, kRowMajor, kTransposed,
                  SumInto::kOverwrite);
}

// Tiles are less tall there, and their last vector is full, half full or less.
TYPED_TEST(MatmulLarge, RowsOfAThatShareACacheSetAreTheOrderedChain) {
  using T = TypeParam;
  const index_t k = kL1Period / index_t{sizeof(T)};
  for (const index_t n : {1, 7, 10, 16, 20}) {
    for (const index_t m : {kL1Ways - 1, kL1Ways, kL1Ways + 1, 3 * kL1Ways + 5}) {
      expect_chain<T>({m, k, n}, kRowMajor, kRowMajor, kRowMajor, continued(n == 10));
    }
  }
}

TYPED_TEST(MatmulLarge, ShortKWritesEveryElement) {
  using T = TypeParam;
  for (index_t k = 0; k <= kRowsFirstK + 1; ++k) {
    expect_chain<T>({129, k, 200}, kTransposed, kRowMajor, kRowMajor, continued(k % 2 == 1));
    expect_chain<T>({129, k, 200}, kRowMajor, kTransposed, kTransposed, continued(k % 2 == 0));
    expect_chain<T>({5, k, kStreamNC + 77}, kRowMajor, kRowMajor, kRowMajor, continued(k % 2 == 0));
  }
}

}  // namespace
}  // namespace nnext::test
