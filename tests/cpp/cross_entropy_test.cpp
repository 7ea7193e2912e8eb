// Cross entropy with its options: the kernel against long double.
#include "nnext/cross_entropy.h"

#include <algorithm>
#include <numeric>

#include "cross_entropy_formula.h"
#include "matrix.h"
#include "nnext/softmax.h"
#include "page_end.h"

namespace nnext::test {
namespace {

template <class T>
T score(Random& random) {
  return static_cast<T>(random.real(-12, 12));
}
template <class T>
T weight(Random& random) {
  return random.below(4) == 0 ? T{0} : static_cast<T>(random.real(0, 2));
}

// Every option by itself and together with the others.
template <class T>
std::vector<LossTerms<T>> every_terms(const Array<T>& weights) {
  std::vector<LossTerms<T>> all;
  for (int bits = 0; bits < 16; ++bits) {
    LossTerms<T> terms;
    terms.weight_sum = static_cast<double>(weights.size());
    if ((bits & 1) != 0) {
      terms.class_weight = weights.data();
      terms.weight_sum = std::accumulate(weights.begin(), weights.end(), 0.0);
    }
    if ((bits & 2) != 0) terms.smoothing = 0.125;
    if ((bits & 4) != 0) terms.z_loss = 0.01;
    if ((bits & 8) != 0) terms.softcap = T{5};
    all.push_back(terms);
  }
  return all;
}

// Labels of some rows: some soft, the others by their class.
template <class T>
class MixedLabels {
 public:
  MixedLabels(index_t rows, index_t cols, bool with_soft_rows) {
    Random random(9);
    for (index_t r = 0; r < rows; ++r) {
      index_.push_back(random.below(cols));
      rows_.push_back(one_hot<T>(cols, index_.back()));
      if (!with_soft_rows || r % 3 == 1 || cols < 2) continue;
      index_.back() = -2;
      T sum = 0;
      for (T& q : rows_.back()) sum += q = random.below(3) == 0 ? T{0} : real_between(random);
      rows_.back()[0] += T{1};
      for (T& q : rows_.back()) q /= sum + 1;
    }
    for (std::size_t r = 0; r < rows_.size(); ++r) {
      soft_.push_back(index_[r] < 0 ? rows_[r].data() : nullptr);
    }
    has_soft_ = with_soft_rows;
  }
  RowLabels<T> labels() const { return {index_.data(), has_soft_ ? soft_.data() : nullptr}; }
  const T* row(index_t r) const { return rows_[static_cast<std::size_t>(r)].data(); }

 private:
  static T real_between(Random& random) { return static_cast<T>(random.real(0, 1)); }
  std::vector<std::int64_t> index_;
  std::vector<std::vector<T>> rows_;
  std::vector<const T*> soft_;
  bool has_soft_;
};

class CrossEntropyKernel : public IsaTest {};
NNEXT_EVERY_ISA(CrossEntropyKernel);

TEST_P(CrossEntropyKernel, EveryOptionIsItsFormula) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for (const index_t cols : edge_sizes(kernels.lanes)) {
      if (cols == 0) continue;
      constexpr index_t kRows = 5;
      const Array<T> weights(cols, /*seed=*/3, &weight<T>);
      const Array<double> factor(kRows, /*seed=*/4, &real_number<double>);
      const Matrix<T> x(kRows, cols, kPadded, /*seed=*/1, &score<T>);
      const index_t stride = x.view().row_stride;
      for (const bool soft : {false, true}) {
        const MixedLabels<T> mixed(kRows, cols, soft);
        for (const LossTerms<T>& terms : every_terms(weights)) {
          for (const RowResult result :
               {RowResult::kLoss, RowResult::kProbabilities, RowResult::kGradient}) {
            Matrix<T> scores(x);
            Array<double> loss(kRows);
            kernels.cross_entropy(scores.view().data, stride, kRows, cols, mixed.labels(), terms,
                                  factor.data(), result, loss.data());
            ASSERT_TRUE(loss.guards_intact());
            for (index_t r = 0; r < kRows; ++r) {
              const Exact<T> exact(x.view().data + r * stride, cols, mixed.row(r), terms,
                                   static_cast<long double>(factor[r]));
              const long double unit = kUnit<T>;
              ASSERT_LE(std::abs(loss[r] - exact.loss), 40 * unit * (1 + exact.loss)) << cols;
              if (result == RowResult::kLoss) continue;
              const bool gradient = result == RowResult::kGradient;
              for (index_t c = 0; c < cols; ++c) {
                const auto i = static_cast<std::size_t>(c);
                const long double expected = gradient ? exact.gradient[i] : exact.probability[i];
                ASSERT_LE(std::abs(scores(r, c) - expected), 60 * unit)
                    << cols << " classes, class " << c << ", smoothing " << terms.smoothing
                    << ", z loss " << terms.z_loss << ", cap " << terms.softcap << ", gradient "
                    << gradient << ", soft " << soft;
              }
            }
          }
        }
      }
    }
  });
}

TEST_P(CrossEntropyKernel, BitsAreThoseOfThePortableKernel) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    const Kernels<T>& portable = portable_kernels<T>();
    for (const index_t cols : {1, 15, 16, 17, 100, 333}) {
      const Array<T> weights(cols, /*seed=*/3, &weight<T>);
      const double factor = 0.37;
      for (const bool soft : {false, true}) {
        const MixedLabels<T> mixed(1, cols, soft);
        for (const LossTerms<T>& terms : every_terms(weights)) {
          for (const RowResult result :
               {RowResult::kLoss, RowResult::kProbabilities, RowResult::kGradient}) {
            Array<T> a(cols, /*seed=*/1, &score<T>);
            Array<T> b(a);
            Array<double> losses(2);
            kernels.cross_entropy(a.data(), cols, 1, cols, mixed.labels(), terms, &factor, result,
                                  &losses[0]);
            portable.cross_entropy(b.data(), cols, 1, cols, mixed.labels(), terms, &factor, result,
                                   &losses[1]);
            ASSERT_TRUE(same_bits(b, a)) << cols;
            ASSERT_TRUE(same(losses[0], losses[1])) << cols;
          }
        }
      }
    }
  });
}

// What a layer's backward computes from the probabilities that forward kept.
TEST_P(CrossEntropyKernel, TheGradientFromProbabilitiesHasTheBitsOfThatFromScores) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    constexpr index_t kRows = 4;
    for (const index_t cols : edge_sizes(kernels.lanes)) {
      if (cols == 0) continue;
      const Array<T> weights(cols, /*seed=*/3, &weight<T>);
      const Array<T> x(kRows * cols, /*seed=*/1, &score<T>);
      const Array<double> factor(kRows, /*seed=*/4, &real_number<double>);
      for (const bool soft : {false, true}) {
        const MixedLabels<T> mixed(kRows, cols, soft);
        for (const LossTerms<T>& terms : every_terms(weights)) {
          if (terms.need_scores()) continue;
          Array<T> y(x);
          Array<T> expected(x);
          Array<double> loss(kRows);
          kernels.cross_entropy(y.data(), cols, kRows, cols, mixed.labels(), terms, nullptr,
                                RowResult::kProbabilities, loss.data());
          kernels.cross_entropy(expected.data(), cols, kRows, cols, mixed.labels(), terms,
                                factor.data(), RowResult::kGradient, loss.data());
          Array<T> dx(x.size());
          kernels.cross_entropy_backward(y.data(), dx.data(), kRows, cols, mixed.labels(), terms,
                                         factor.data());
          ASSERT_TRUE(same_bits(expected, dx)) << cols << " classes, soft " << soft;
        }
      }
    }
  });
}

TEST_P(CrossEntropyKernel, SoftcapIsMonotoneAndStaysBelowTheCap) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for (const index_t n : edge_sizes(kernels.lanes)) {
      Array<T> x(n, /*seed=*/1, &score<T>);
      std::sort(x.data(), x.data() + n);
      const Array<T> before(x);
      kernels.softcap(x.data(), n, T{3});
      ASSERT_TRUE(within(
          x, [&](index_t i) { return 3 * std::tanh(static_cast<long double>(before[i]) / 3); },
          [](index_t) { return 16 * kUnit<T>; }));
      ASSERT_TRUE(std::is_sorted(x.begin(), x.end()));
    }
  });
}

TEST_P(CrossEntropyKernel, WithoutOptionsBitsAreThoseOfSoftmaxWithLoss) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    constexpr index_t kRows = 7;
    for (const auto draw : {&score<T>, &special_number<T>}) {
      for (const index_t cols : edge_sizes(kernels.lanes)) {
        if (cols == 0) continue;
        const Array<T> x(kRows * cols, /*seed=*/1, draw);
        std::vector<std::int64_t> t(kRows);
        for (std::size_t r = 0; r < kRows; ++r) t[r] = (3 * static_cast<index_t>(r) + 1) % cols;
        const double factor = 0.7 / 3;
        const std::vector<double> factors(kRows, factor);
        Array<T> y(x.size());
        Array<T> dx(x.size());
        Array<double> expected(kRows);
        kernels.softmax(x.data(), y.data(), kRows, cols, t.data(), expected.data());
        kernels.softmax_loss_backward(y.data(), t.data(), static_cast<T>(factor), dx.data(), kRows,
                                      cols);
        const LossTerms<T> terms{.weight_sum = static_cast<double>(cols)};
        for (const RowResult result :
             {RowResult::kLoss, RowResult::kProbabilities, RowResult::kGradient}) {
          Array<T> scores(x);
          Array<double> loss(kRows);
          kernels.cross_entropy(scores.data(), cols, kRows, cols, {t.data()}, terms, factors.data(),
                                result, loss.data());
          ASSERT_TRUE(same_bits(expected, loss)) << cols;
          ASSERT_TRUE(same_bits(result == RowResult::kLoss            ? x
                                : result == RowResult::kProbabilities ? y
                                                                      : dx,
                                scores))
              << cols;
        }
      }
    }
  });
}

TEST_P(CrossEntropyKernel, TouchesNothingPastItsArrays) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for (index_t n = 1; n <= 2 * kernels.lanes + 17; ++n) {
      PageEnd<T> x(n, T{1});
      PageEnd<T> weights(n, T{1});
      const std::int64_t t = n - 1;
      const double factor = 1;
      double loss = 0;
      const LossTerms<T> terms{.class_weight = weights.data(),
                               .weight_sum = static_cast<double>(n),
                               .smoothing = 0.5,
                               .softcap = T{3}};
      kernels.cross_entropy(x.data(), n, 1, n, {&t}, terms, &factor, RowResult::kGradient, &loss);
      const double without_smoothing = std::log(static_cast<double>(n));
      PageEnd<T> soft(n, static_cast<T>(1.0 / static_cast<double>(n)));
      const T* const row = soft.data();
      PageEnd<T> y(n, static_cast<T>(1.0 / static_cast<double>(n)));
      PageEnd<T> dx(n, T{0});
      const std::int64_t no_class = -2;
      const LossTerms<T> plain{.class_weight = weights.data(),
                               .weight_sum = static_cast<double>(n)};
      kernels.cross_entropy_backward(y.data(), dx.data(), 1, n, {&no_class, &row}, plain, &factor);
      EXPECT_NEAR(static_cast<double>(dx.data()[0]), 0, 1e-6);
      EXPECT_NEAR(loss, without_smoothing, 1e-6);
    }
  });
}

TEST(CrossEntropy, IgnoredRowsCountNothing) {
  constexpr index_t kCols = 19;
  const std::int64_t t[] = {-1, 3, -1, -1, 18, -1};
  const double factor[] = {1, 2, 3, 4, 5, 6};
  const LossTerms<float> terms{.weight_sum = kCols, .smoothing = 0.1};
  Array<float> x(6 * kCols, /*seed=*/1, &score<float>);
  for (index_t c = 0; c < kCols; ++c) x[c] = kNan<float>;  // row 0
  Array<float> gradient(x);
  Array<double> loss(6);
  cross_entropy<float>(gradient.data(), kCols, 6, kCols, {t}, terms, factor, RowResult::kGradient,
                       loss.data());
  for (index_t r = 0; r < 6; ++r) {
    Array<float> alone(kCols);
    std::copy_n(x.data() + r * kCols, kCols, alone.data());
    double expected = 0;
    if (t[r] >= 0) {
      cross_entropy<float>(alone.data(), kCols, 1, kCols, {t + r}, terms, factor + r,
                           RowResult::kGradient, &expected);
    } else {
      std::fill_n(alone.data(), kCols, 0.0f);
    }
    EXPECT_EQ(loss[r], expected) << r;
    for (index_t c = 0; c < kCols; ++c) ASSERT_EQ(gradient[r * kCols + c], alone[c]) << r;
  }
}

}  // namespace
}  // namespace nnext::test
