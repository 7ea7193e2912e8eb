// Scores of rows against rows of a table, and their gradients.
#include "nnext/embedding_dot.h"

#include "matrix.h"
#include "nnext/embedding.h"

namespace nnext::test {
namespace {

template <class T>
class EmbeddingDot : public testing::Test {};
TYPED_TEST_SUITE(EmbeddingDot, Reals, RealNames);

std::vector<std::int64_t> indices(index_t n, index_t rows) {
  Random random(3);
  std::vector<std::int64_t> index(static_cast<std::size_t>(n));
  for (std::int64_t& value : index) value = random.below(rows);
  return index;
}

struct Size {
  index_t rows;
  index_t n;
  index_t count;
  index_t width;
};
constexpr Size kSizes[] = {{1, 0, 3, 3},  {1, 1, 1, 1},     {5, 3, 2, 0},      {7, 20, 0, 5},
                           {7, 9, 1, 1},  {3, 10, 6, 15},   {9, 11, 2, 16},    {100, 7, 6, 17},
                           {4, 5, 3, 33}, {50, 60, 11, 70}, {997, 3000, 6, 40}};

// Whole numbers, whose products and sums are exact in any order.
TYPED_TEST(EmbeddingDot, ScoresOfWholeNumbersAreExact) {
  using T = TypeParam;
  for (const Size& size : kSizes) {
    for (const Layout& layout :
         {kRowMajor, kPadded, Layout{.name = "rows reversed", .flip_rows = true}}) {
      const Matrix<T> w(size.rows, size.width, layout, /*seed=*/1, &whole_number<T>);
      const Array<T> h(size.n * size.width, /*seed=*/2, &whole_number<T>);
      const std::vector<std::int64_t> index = indices(size.n * size.count, size.rows);
      Array<T> expected(size.n * size.count);
      for (index_t i = 0; i < expected.size(); ++i) {
        T sum = 0;
        for (index_t j = 0; j < size.width; ++j) {
          sum += h[i / size.count * size.width + j] * w(index[static_cast<std::size_t>(i)], j);
        }
        expected[i] = sum;
      }
      for (const int threads : {1, 2, 3, 8}) {
        const ThreadsInUse in_use(threads);
        Array<T> scores(expected.size());
        embedding_dot<T>(h.data(), w.view().data, w.view().row_stride, index.data(), size.n,
                         size.count, size.width, scores.data());
        ASSERT_TRUE(same_bits(expected, scores)) << layout.name << ", " << threads << " threads";
      }
    }
  }
}

// The gradient of the table is that of an embedding whose rows are the multiples of h.
TYPED_TEST(EmbeddingDot, GradientsAddUpInOrder) {
  using T = TypeParam;
  for (const Size& size : kSizes) {
    const index_t terms = size.n * size.count;
    const std::vector<std::int64_t> index = indices(terms, size.rows);
    const Matrix<T> w(size.rows, size.width, kPadded, /*seed=*/1, &real_number<T>);
    const Array<T> h(size.n * size.width, /*seed=*/2, &real_number<T>);
    const Array<T> dscores(terms, /*seed=*/4, &real_number<T>);
    Array<T> multiples(terms * size.width);
    Array<T> expected_dh(size.n * size.width);
    std::fill_n(expected_dh.data(), expected_dh.size(), T{0});
    for (index_t i = 0; i < terms; ++i) {
      for (index_t j = 0; j < size.width; ++j) {
        const index_t at = i / size.count * size.width + j;
        multiples[i * size.width + j] = h[at] * dscores[i];
        expected_dh[at] += w(index[static_cast<std::size_t>(i)], j) * dscores[i];
      }
    }
    Array<T> expected(size.rows * size.width);
    embedding_backward<T>(multiples.data(), index.data(), terms, size.width, expected.data(),
                          size.rows, size.width);
    for (const int threads : {1, 2, 3, 8}) {
      const ThreadsInUse in_use(threads);
      Matrix<T> dw(size.rows, size.width, kPadded);
      Array<T> dh(expected_dh.size());
      embedding_dot_backward<T>(dscores.data(), h.data(), w.view().data, w.view().row_stride,
                                index.data(), size.n, size.count, size.width, dh.data(),
                                dw.view().data, size.rows, dw.view().row_stride);
      ASSERT_TRUE(dw.holds(expected)) << threads << " threads";
      ASSERT_TRUE(same_bits(expected_dh, dh)) << threads << " threads";
    }
    // In two parts, the second adding to the first.
    const index_t first = size.n / 3;
    Array<T> dw(size.rows * size.width);
    Array<T> dh(expected_dh.size());
    if (terms > kLongestChain) continue;  // where blocks of the whole are others
    for (const index_t begin : {index_t{0}, first}) {
      const index_t n = begin == 0 ? first : size.n - first;
      embedding_dot_backward<T>(dscores.data() + begin * size.count, h.data() + begin * size.width,
                                w.view().data, w.view().row_stride,
                                index.data() + begin * size.count, n, size.count, size.width,
                                dh.data() + begin * size.width, dw.data(), size.rows, size.width,
                                begin == 0 ? SumInto::kOverwrite : SumInto::kContinue);
    }
    if (first == 0) continue;  // the second call wrote over nothing
    ASSERT_TRUE(same_bits(expected, dw));
    ASSERT_TRUE(same_bits(expected_dh, dh));
  }
}

TYPED_TEST(EmbeddingDot, ProductsBelowTheNormalNumbersAreZero) {
  using T = TypeParam;
  const T least = std::numeric_limits<T>::min();
  const T h[] = {least, -least, 1, least / 2};
  const T w[] = {1, 1, 1, 1};
  const T dscores[] = {T{0.25}, least / 4};
  const std::int64_t index[] = {0, 0};
  const T large[] = {0, 0, 0, 1 / least};
  const T small[] = {least / 2, 0, 0, 0};
  T scores[2];
  for (const T* row : {large, small}) {
    embedding_dot<T>(h, row, 4, index, 1, 2, 4, scores);
    EXPECT_EQ(scores[0], T{0});
  }
  const T half[] = {T{0.5}, 0, 0, 0};
  embedding_dot<T>(h, half, 4, index, 1, 2, 4, scores);
  EXPECT_EQ(scores[0], T{0});
  T dh[4];
  T dw[4];
  embedding_dot_backward<T>(dscores, h, w, 4, index, 1, 2, 4, dh, dw, 1, 4);
  for (const T value : {dw[0], dw[1], dw[3]}) EXPECT_EQ(value, T{0});
  EXPECT_EQ(dw[2], T{0.25});
  for (const T value : dh) EXPECT_EQ(value, T{0.25});
}

}  // namespace
}  // namespace nnext::test
