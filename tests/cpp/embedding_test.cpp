// Rows gathered by index, and their gradients scattered back.
#include "nnext/embedding.h"

#include "matrix.h"

namespace nnext::test {
namespace {

template <class T>
class Embedding : public testing::Test {};
TYPED_TEST_SUITE(Embedding, Reals, RealNames);

std::vector<std::int64_t> indices(index_t n, index_t rows) {
  Random random(3);
  std::vector<std::int64_t> index(static_cast<std::size_t>(n));
  for (std::int64_t& value : index) value = random.below(rows);
  return index;
}

struct Size {
  index_t rows;
  index_t n;
  index_t width;
};
constexpr Size kSizes[] = {{1, 0, 3},   {1, 1, 1},    {5, 3, 0},     {7, 20, 1},     {3, 40, 15},
                           {9, 11, 16}, {100, 7, 17}, {50, 300, 33}, {997, 2000, 70}};

TYPED_TEST(Embedding, TakesTheRowsOfTheIndices) {
  using T = TypeParam;
  for (const Size& size : kSizes) {
    for (const Layout& layout :
         {kRowMajor, kPadded, Layout{.name = "rows reversed", .flip_rows = true}}) {
      const Matrix<T> w(size.rows, size.width, layout, /*seed=*/1, &any_number<T>);
      const std::vector<std::int64_t> index = indices(size.n, size.rows);
      Array<T> expected(size.n * size.width);
      for (index_t i = 0; i < expected.size(); ++i) {
        expected[i] = w(index[static_cast<std::size_t>(i / size.width)], i % size.width);
      }
      for (const int threads : {1, 2, 3, 8}) {
        const ThreadsInUse in_use(threads);
        Array<T> out(size.n * size.width);
        embedding(w.view().data, w.view().row_stride, index.data(), size.n, size.width, out.data());
        ASSERT_TRUE(same_bits(expected, out)) << layout.name << ", " << threads << " threads";
      }
    }
  }
}

TYPED_TEST(Embedding, GradientsOfRepeatedIndicesAddUpInOrder) {
  using T = TypeParam;
  for (const Size& size : kSizes) {
    for (const Layout& layout : {kRowMajor, kPadded}) {
      const std::vector<std::int64_t> index = indices(size.n, size.rows);
      const Array<T> dout(size.n * size.width, /*seed=*/2, &real_number<T>);
      Array<T> expected(size.rows * size.width);
      std::fill_n(expected.data(), expected.size(), T{0});
      for (index_t i = 0; i < dout.size(); ++i) {
        expected[index[static_cast<std::size_t>(i / size.width)] * size.width + i % size.width] +=
            dout[i];
      }
      for (const int threads : {1, 2, 3, 8}) {
        const ThreadsInUse in_use(threads);
        Matrix<T> dw(size.rows, size.width, layout);  // canaries: what is not set to 0 shows
        embedding_backward(dout.data(), index.data(), size.n, size.width, dw.view().data, size.rows,
                           dw.view().row_stride);
        ASSERT_TRUE(dw.holds(expected)) << layout.name << ", " << threads << " threads";
      }
    }
  }
}

TYPED_TEST(Embedding, GradientsOfPartsGoOnWhereTheLastEnded) {
  using T = TypeParam;
  for (const Size& size : kSizes) {
    const std::vector<std::int64_t> index = indices(size.n, size.rows);
    const Array<T> dout(size.n * size.width, /*seed=*/2, &real_number<T>);
    Array<T> whole(size.rows * size.width);
    embedding_backward(dout.data(), index.data(), size.n, size.width, whole.data(), size.rows,
                       size.width);
    for (const index_t first : {index_t{0}, size.n / 3, size.n}) {
      Array<T> dw(size.rows * size.width);
      embedding_backward(dout.data(), index.data(), first, size.width, dw.data(), size.rows,
                         size.width);
      embedding_backward(dout.data() + first * size.width, index.data() + first, size.n - first,
                         size.width, dw.data(), size.rows, size.width, SumInto::kContinue);
      ASSERT_TRUE(same_bits(whole, dw)) << first << " of " << size.n;
    }
  }
}

TYPED_TEST(Embedding, WithoutIndicesTheGradientIsZero) {
  using T = TypeParam;
  Matrix<T> dw(3, 5, kPadded);
  embedding_backward<T>(nullptr, nullptr, 0, 5, dw.view().data, 3, dw.view().row_stride);
  Array<T> zeros(15);
  std::fill_n(zeros.data(), 15, T{0});
  EXPECT_TRUE(dw.holds(zeros));
}

}  // namespace
}  // namespace nnext::test
