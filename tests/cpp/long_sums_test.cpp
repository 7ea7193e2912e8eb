// Sums of more terms than one chain may have, in every operation that sums over rows or k: the rule
// of nnext/sum.h, element by element, and what it is good for.
#include <numeric>

#include "matrix.h"
#include "nnext/embedding.h"
#include "nnext/linear_cross_entropy.h"
#include "nnext/matmul.h"
#include "nnext/reduce.h"

namespace nnext::test {
namespace {

constexpr index_t kLengths[] = {kLongestChain - 1, kLongestChain, kLongestChain + 1,
                                kLongestChain + kSumBlock, 20000};
constexpr SumInto kEveryInto[] = {SumInto::kOverwrite, SumInto::kContinue, SumInto::kAdd};

template <class T>
class LongSums : public testing::Test {};
TYPED_TEST_SUITE(LongSums, Reals, RealNames);

TYPED_TEST(LongSums, ProductsFollowTheRuleInEveryLayoutOnAnyNumberOfThreads) {
  using T = TypeParam;
  struct Shape {
    index_t m, n;
  };
  // One row, few rows (streamed or transposed in registers), tiles with edges, one column.
  for (const Shape& shape : {Shape{1, 1}, Shape{1, 70}, Shape{5, 33}, Shape{17, 9}, Shape{40, 1}}) {
    for (const index_t k : kLengths) {
      for (const Layout& la : {kRowMajor, kTransposed}) {
        for (const Layout& lb : {kRowMajor, kTransposed}) {
          const Layout& lc = la.by_columns ? kTransposed : kPadded;
          const Matrix<T> a(shape.m, k, la, /*seed=*/1, &real_number<T>);
          const Matrix<T> b(k, shape.n, lb, /*seed=*/2, &real_number<T>);
          const Array<T> bias(lc.by_columns ? 0 : shape.n, /*seed=*/3, &real_number<T>);
          const Matrix<T> start(shape.m, shape.n, lc, /*seed=*/4, &real_number<T>);
          for (const SumInto into : kEveryInto) {
            const bool reads = into != SumInto::kOverwrite;
            const Array<T> expected = ordered_chain(a, b, bias, reads ? &start : nullptr, into);
            for (const int threads : {1, 3}) {
              const ThreadsInUse in_use(threads);
              Matrix<T> c(shape.m, shape.n, lc);
              if (reads) c = start;
              matmul<T>(a.view(), b.view(), c.view(), bias.size() > 0 ? bias.data() : nullptr,
                        into);
              ASSERT_TRUE(c.holds(expected))
                  << shape.m << " x " << k << " x " << shape.n << ", A " << la.name << ", B "
                  << lb.name << ", into " << static_cast<int>(into) << ", threads " << threads;
            }
          }
        }
      }
    }
  }
}

TYPED_TEST(LongSums, TheSumOfManyOnesIsExact) {
  using T = TypeParam;
  constexpr index_t kMany = index_t{1} << 25;  // in float32 one chain stops at 2^24
  const T one = 1;
  T sum = 0;
  const MatrixView<const T> row{&one, 1, kMany, 0, 0};  // one number, read again and again
  const MatrixView<const T> column{&one, kMany, 1, 0, 0};
  matmul<T>(row, column, {&sum, 1, 1, 1, 1});
  EXPECT_EQ(sum, static_cast<T>(kMany));
  sum_rows<T>(&one, /*row_stride=*/0, &sum, kMany, 1);
  EXPECT_EQ(sum, static_cast<T>(kMany));
}

TYPED_TEST(LongSums, SumsOverRowsFollowTheRule) {
  using T = TypeParam;
  for (const index_t rows : kLengths) {
    for (const index_t cols : {1, 3, 17, 70}) {
      const Matrix<T> x(rows, cols, kPadded, /*seed=*/1, &real_number<T>);
      const Array<T> start(cols, /*seed=*/2, &real_number<T>);
      for (const SumInto into : kEveryInto) {
        Array<T> expected(cols);
        for (index_t j = 0; j < cols; ++j) {
          expected[j] =
              sum_by_the_rule(rows, into, start[j], [&](index_t first, index_t count, T sum) {
                for (index_t i = first; i < first + count; ++i) {
                  sum += x(i, j);
                }
                return sum;
              });
        }
        for (const int threads : {1, 3}) {
          const ThreadsInUse in_use(threads);
          Array<T> sums(start);
          sum_rows<T>(x.view().data, x.view().row_stride, sums.data(), rows, cols, into);
          ASSERT_TRUE(same_bits(expected, sums)) << rows << " rows, " << cols << " columns";
        }
      }
    }
  }
}

TYPED_TEST(LongSums, SumsOverAnInnerAxisFollowTheRule) {
  using T = TypeParam;
  constexpr index_t kAxis = kLongestChain + 5;
  const Array<T> x(2 * kAxis * 3, /*seed=*/1, &real_number<T>);
  Array<T> sums(6);
  sum_axis<T>(x.data(), sums.data(), 2, kAxis, 3);
  for (index_t outer = 0; outer < 2; ++outer) {
    Array<T> expected(3);
    sum_rows<T>(x.data() + outer * kAxis * 3, 3, expected.data(), kAxis, 3);
    for (index_t j = 0; j < 3; ++j) EXPECT_EQ(sums[outer * 3 + j], expected[j]);
  }
}

TYPED_TEST(LongSums, GradientsGatheredByIndexFollowTheRule) {
  using T = TypeParam;
  constexpr index_t kRows = 7;
  constexpr index_t kWidth = 5;
  for (const index_t n : kLengths) {
    const Array<T> dout(n * kWidth, /*seed=*/1, &real_number<T>);
    std::vector<std::int64_t> index(static_cast<std::size_t>(n));
    Random random(2);
    for (std::int64_t& i : index) i = random.below(3) == 0 ? random.below(kRows - 1) : 2;
    Array<T> expected(kRows * kWidth);
    for (index_t row = 0; row < kRows; ++row) {
      for (index_t d = 0; d < kWidth; ++d) {
        expected[row * kWidth + d] =
            sum_by_the_rule(n, SumInto::kOverwrite, T{0}, [&](index_t first, index_t count, T sum) {
              for (index_t i = first; i < first + count; ++i) {
                if (index[static_cast<std::size_t>(i)] == row) sum += dout[i * kWidth + d];
              }
              return sum;
            });
      }
    }
    for (const int threads : {1, 3}) {
      const ThreadsInUse in_use(threads);
      Array<T> dw(kRows * kWidth);
      embedding_backward<T>(dout.data(), index.data(), n, kWidth, dw.data(), kRows, kWidth);
      ASSERT_TRUE(std::equal(expected.begin(), expected.end(), dw.begin())) << n;
      ASSERT_TRUE(dw.guards_intact());
    }
  }
}

TYPED_TEST(LongSums, AMillionTimesATenthIsRight) {
  using T = TypeParam;
  constexpr index_t kMany = 1'000'000;
  const T tenth = T(0.1);
  const double exact = 1e6 * static_cast<double>(tenth);
  T sum = 0;
  sum_rows<T>(&tenth, /*row_stride=*/0, &sum, kMany, 1);
  EXPECT_NEAR(static_cast<double>(sum), exact, 5e-5 * exact);
  const T one = 1;
  matmul<T>({&one, 1, kMany, 0, 0}, {&tenth, kMany, 1, 0, 0}, {&sum, 1, 1, 1, 1});
  EXPECT_NEAR(static_cast<double>(sum), exact, 5e-5 * exact);
}

// The fused loss over many rows, in chunks shorter than a block: the bits of its parts.
TYPED_TEST(LongSums, TheFusedLossSumsItsGradientsLikeItsParts) {
  using T = TypeParam;
  constexpr index_t kRows = kLongestChain + 700;
  constexpr index_t kDepth = 3;
  constexpr index_t kClasses = 5;
  const Matrix<T> x(kRows, kDepth, kRowMajor, /*seed=*/1, &real_number<T>);
  const Matrix<T> w(kDepth, kClasses, kRowMajor, /*seed=*/2, &real_number<T>);
  std::vector<index_t> row;
  std::vector<std::int64_t> t;
  std::vector<std::int64_t> all(kRows, -1);
  for (index_t i = 0; i < kRows; ++i) {
    if (i % 7 == 3 || (i >= 2 * kSumBlock && i < 3 * kSumBlock)) continue;  // a block is empty
    row.push_back(i);
    t.push_back(i * 31 % kClasses);
    all[static_cast<std::size_t>(i)] = t.back();
  }
  const std::vector<double> factor(kRows, 0.1);
  const LossTerms<T> terms{.weight_sum = kClasses};
  Array<T> scores(kRows * kClasses);
  matmul<T>(x.view(), w.view(), {scores.data(), kRows, kClasses, kClasses, 1});
  Array<double> loss(kRows);
  cross_entropy<T>(scores.data(), kClasses, kRows, kClasses, {all.data()}, terms, factor.data(),
                   RowResult::kGradient, loss.data());
  const Array<T> held(kDepth * kClasses, /*seed=*/3, &real_number<T>);
  const std::size_t before = score_budget();
  for (const std::size_t budget : {std::size_t{20'000}, std::size_t{1} << 24}) {
    set_score_budget(budget);
    for (const auto& [layout, into] : {std::pair{kRowMajor, SumInto::kOverwrite},
                                       {kTransposed, SumInto::kOverwrite},
                                       {kTransposed, SumInto::kContinue}}) {
      Array<T> dw(kDepth * kClasses);
      Array<T> db(kClasses);
      std::copy_n(held.data(), dw.size(), dw.data());
      std::copy_n(held.data(), db.size(), db.data());
      Matrix<T> got_dw(kDepth, kClasses, layout);
      Array<T> got_db(kClasses);
      for (index_t i = 0; i < dw.size(); ++i) got_dw(i / kClasses, i % kClasses) = held[i];
      std::copy_n(held.data(), db.size(), got_db.data());
      matmul<T>(x.view().transposed(), {scores.data(), kRows, kClasses, kClasses, 1},
                {dw.data(), kDepth, kClasses, kClasses, 1}, /*bias=*/nullptr, into);
      sum_rows<T>(scores.data(), kClasses, db.data(), kRows, kClasses, into);
      Array<double> got_loss(static_cast<index_t>(row.size()));
      const Array<T> no_bias(kClasses);
      const LinearGradients<T> gradients{
          {nullptr, kRows, kDepth, kDepth, 1}, got_dw.view(), got_db.data(), into};
      linear_cross_entropy<T>({x.view(), w.view(), nullptr},
                              {row.data(),
                               {t.data()},
                               factor.data(),
                               got_loss.data(),
                               static_cast<index_t>(row.size())},
                              terms, &gradients);
      EXPECT_TRUE(got_dw.holds(dw)) << budget;
      EXPECT_TRUE(same_bits(db, got_db)) << budget;
    }
  }
  set_score_budget(before);
}

}  // namespace
}  // namespace nnext::test
