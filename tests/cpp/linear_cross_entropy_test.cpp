// The linear layer with cross entropy in one pass, against its parts.
#include "nnext/linear_cross_entropy.h"

#include <algorithm>
#include <numeric>

#include "cross_entropy_formula.h"
#include "matrix.h"
#include "nnext/matmul.h"
#include "nnext/reduce.h"

namespace nnext::test {
namespace {

class ScoreBudget {
 public:
  explicit ScoreBudget(std::size_t bytes) { set_score_budget(bytes); }
  ~ScoreBudget() { set_score_budget(before_); }

 private:
  std::size_t before_ = score_budget();
};

template <class T>
class LinearCrossEntropy : public testing::Test {};
TYPED_TEST_SUITE(LinearCrossEntropy, Reals, RealNames);

// Rows, some of them ignored, of a layer with bias.
template <class T>
struct Case {
  index_t n, d, v;
  Matrix<T> x;
  Matrix<T> w;
  Array<T> b;
  std::vector<index_t> row;
  std::vector<std::int64_t> t;
  std::vector<double> factor;

  Case(index_t rows, index_t depth, index_t classes, const Layout& x_layout, const Layout& w_layout,
       int ignored_every)
      : n(rows),
        d(depth),
        v(classes),
        x(n, d, x_layout, /*seed=*/1, &real_number<T>),
        w(d, v, w_layout, /*seed=*/2, &real_number<T>),
        b(v, /*seed=*/3, &real_number<T>) {
    Random random(4);
    for (index_t i = 0; i < n; ++i) {
      if (ignored_every > 0 && i % ignored_every == 1) continue;
      row.push_back(i);
      t.push_back(random.below(v));
      factor.push_back(random.real(-1, 1));
    }
  }
  LinearScores<T> scores() const { return {x.view(), w.view(), b.data()}; }
  LabelledRows<T> rows(Array<double>& loss) const {
    return {row.data(), {t.data()}, factor.data(), loss.data(), static_cast<index_t>(row.size())};
  }
};

template <class T>
void expect_bits_of_the_parts(const Case<T>& c, const Layout& dw_layout,
                              const LossTerms<T>& terms) {
  // The parts: whole scores, ignored rows with gradient 0.
  Array<T> scores(c.n * c.v);
  const MatrixView<T> z{scores.data(), c.n, c.v, c.v, 1};
  matmul<T>(c.x.view(), c.w.view(), z, c.b.data());
  std::vector<std::int64_t> t(static_cast<std::size_t>(c.n), -1);
  std::vector<double> factor(static_cast<std::size_t>(c.n));
  for (std::size_t i = 0; i < c.row.size(); ++i) {
    t[static_cast<std::size_t>(c.row[i])] = c.t[i];
    factor[static_cast<std::size_t>(c.row[i])] = c.factor[i];
  }
  Array<double> loss(c.n);
  cross_entropy<T>(scores.data(), c.v, c.n, c.v, {t.data()}, terms, factor.data(),
                   RowResult::kGradient, loss.data());
  const MatrixView<const T> dz{scores.data(), c.n, c.v, c.v, 1};
  Array<T> dw(c.d * c.v);
  Array<T> dx(c.n * c.d);
  Array<T> db(c.v);
  matmul<T>(c.x.view().transposed(), dz, {dw.data(), c.d, c.v, c.v, 1});
  matmul<T>(dz, c.w.view().transposed(), {dx.data(), c.n, c.d, c.d, 1});
  sum_rows<T>(scores.data(), c.v, db.data(), c.n, c.v);

  Matrix<T> got_dw(c.d, c.v, dw_layout);
  Array<T> got_dx(c.n * c.d);
  Array<T> got_db(c.v);
  Array<double> got_loss(static_cast<index_t>(c.row.size()));
  const LinearGradients<T> gradients{
      {got_dx.data(), c.n, c.d, c.d, 1}, got_dw.view(), got_db.data()};
  linear_cross_entropy<T>(c.scores(), c.rows(got_loss), terms, &gradients);
  // Equal as numbers: where a row is left out, -0 may stand for the +0 that adding 0 gives.
  const auto equal = [](const Array<T>& a, const Array<T>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end()) && b.guards_intact();
  };
  ASSERT_TRUE(got_dw.holds(dw));
  ASSERT_TRUE(equal(dx, got_dx));
  ASSERT_TRUE(equal(db, got_db));
  Array<double> alone(got_loss.size());
  linear_cross_entropy<T>(c.scores(), c.rows(alone), terms, nullptr);
  for (std::size_t i = 0; i < c.row.size(); ++i) {
    ASSERT_EQ(got_loss[static_cast<index_t>(i)], loss[c.row[i]]);
    ASSERT_EQ(alone[static_cast<index_t>(i)], loss[c.row[i]]);
  }
}

TYPED_TEST(LinearCrossEntropy, BitsAreThoseOfItsPartsForAnyChunkAndThreads) {
  using T = TypeParam;
  for (const int threads : {1, 3}) {
    const ThreadsInUse in_use(threads);
    for (const std::size_t budget : {std::size_t{1}, std::size_t{20000}, std::size_t{1} << 24}) {
      const ScoreBudget in_force(budget);
      for (const int ignored_every : {0, 2, 5}) {
        for (const Layout& layout : {kRowMajor, kTransposed}) {
          const Case<T> c(37, 9, 133, kRowMajor, layout, ignored_every);
          expect_bits_of_the_parts<T>(c, layout, {.weight_sum = 133});
          expect_bits_of_the_parts<T>(
              c, kPadded, {.weight_sum = 133, .smoothing = 0.1, .z_loss = 0.01, .softcap = T{2}});
        }
      }
      expect_bits_of_the_parts<T>({3, 1, 1, kTransposed, kRowMajor, 0}, kRowMajor,
                                  {.weight_sum = 1});
      expect_bits_of_the_parts<T>({70, 33, 1000, kPadded, kPadded, 7}, kRowMajor,
                                  {.weight_sum = 1000});
    }
  }
}

TYPED_TEST(LinearCrossEntropy, GradientsOfPartsGoOnWhereTheLastEnded) {
  using T = TypeParam;
  constexpr index_t kRows = 37;
  const LossTerms<T> terms{.weight_sum = 133};
  for (const std::size_t budget : {std::size_t{1}, std::size_t{1} << 24}) {
    const ScoreBudget in_force(budget);
    for (const Layout& layout : {kRowMajor, kTransposed}) {
      const Case<T> c(kRows, 9, 133, kRowMajor, kRowMajor, /*ignored_every=*/5);
      Array<T> whole_dw(9 * 133);
      Array<T> whole_db(133);
      Array<double> loss(static_cast<index_t>(c.row.size()));
      const LinearGradients<T> gradients{
          {nullptr, kRows, 9, 9, 1}, {whole_dw.data(), 9, 133, 133, 1}, whole_db.data()};
      linear_cross_entropy<T>(c.scores(), c.rows(loss), terms, &gradients);
      for (const index_t count : {index_t{0}, index_t{1}, index_t{11}, loss.size()}) {
        Matrix<T> dw(9, 133, layout);
        Array<T> db(133);
        LinearGradients<T> parts{{nullptr, kRows, 9, 9, 1}, dw.view(), db.data()};
        LabelledRows<T> rows = c.rows(loss);
        rows.count = count;
        linear_cross_entropy<T>(c.scores(), rows, terms, &parts);
        parts.into = SumInto::kContinue;
        linear_cross_entropy<T>(c.scores(),
                                {rows.row + count, rows.labels.from(count), rows.factor + count,
                                 rows.loss + count, loss.size() - count},
                                terms, &parts);
        ASSERT_TRUE(dw.holds(whole_dw)) << count << " rows, " << layout.name;
        ASSERT_TRUE(same_bits(whole_db, db)) << count << " rows";
      }
    }
  }
}

TYPED_TEST(LinearCrossEntropy, NoRowThatCountsGivesZeros) {
  using T = TypeParam;
  const Case<T> c(4, 3, 5, kRowMajor, kRowMajor, 0);
  Matrix<T> dw(3, 5, kTransposed);
  Array<T> dx(12);
  Array<T> db(5);
  const LinearGradients<T> gradients{{dx.data(), 4, 3, 3, 1}, dw.view(), db.data()};
  linear_cross_entropy<T>(c.scores(), {nullptr, {nullptr}, nullptr, nullptr, 0}, {}, &gradients);
  for (const T g : dx) EXPECT_EQ(g, T{0});
  for (const T g : db) EXPECT_EQ(g, T{0});
  for (index_t i = 0; i < 3; ++i) {
    for (index_t j = 0; j < 5; ++j) EXPECT_EQ(dw(i, j), T{0});
  }
}

TYPED_TEST(LinearCrossEntropy, TopClassesAreTheFirstOfTheSortedOnes) {
  using T = TypeParam;
  for (const std::size_t budget : {std::size_t{1}, std::size_t{1} << 24}) {
    const ScoreBudget in_force(budget);
    for (const index_t v : {1, 2, 17, 300}) {
      // Whole numbers, so that scores are often equal.
      const Matrix<T> x(11, 2, kRowMajor, /*seed=*/1, &whole_number<T>);
      const Matrix<T> w(2, v, kTransposed, /*seed=*/2, &whole_number<T>);
      const Array<T> none(0);
      const Array<T> z = ordered_chain(x, w, none);
      for (const index_t k : {index_t{1}, (v + 1) / 2, v}) {
        std::vector<std::int64_t> classes(static_cast<std::size_t>(11 * k));
        Array<T> log_prob(11 * k);
        linear_top_k<T>({x.view(), w.view(), nullptr}, T{0}, k, classes.data(), log_prob.data());
        ASSERT_TRUE(log_prob.guards_intact());
        for (index_t r = 0; r < 11; ++r) {
          const T* const row = z.data() + r * v;
          std::vector<std::int64_t> order(static_cast<std::size_t>(v));
          std::iota(order.begin(), order.end(), 0);
          std::sort(order.begin(), order.end(), [row](std::int64_t a, std::int64_t b) {
            return row[a] > row[b] || (row[a] == row[b] && a < b);
          });
          for (index_t i = 0; i < k; ++i) {
            const std::int64_t c = order[static_cast<std::size_t>(i)];
            ASSERT_EQ(classes[static_cast<std::size_t>(r * k + i)], c) << v << " classes, k " << k;
            const Exact<T> exact(row, v, one_hot<T>(v, c).data(),
                                 {.weight_sum = static_cast<double>(v)}, 1);
            ASSERT_LE(std::abs(log_prob[r * k + i] + exact.loss), 40 * kUnit<T> * (1 + exact.loss));
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace nnext::test
