// Softmax, the losses and their gradients: each kernel against long double, then the operations.
#include "nnext/softmax.h"

#include "page_end.h"
#include "support.h"

namespace nnext::test {
namespace {

template <class T>
T score(Random& random) {
  return static_cast<T>(random.real(-30, 30));
}

std::vector<std::int64_t> labels(index_t rows, index_t cols) {
  Random random(9);
  std::vector<std::int64_t> t(static_cast<std::size_t>(rows));
  for (std::int64_t& label : t) label = random.below(cols);
  return t;
}

// A row's softmax and -log of one of its elements in long double.
template <class T>
struct Exact {
  Exact(const T* x, index_t cols) : scores(x), most(*std::max_element(x, x + cols)) {
    for (index_t i = 0; i < cols; ++i) sum += std::exp(static_cast<long double>(x[i]) - most);
    // all but one maximum, for a logarithm that keeps its digits near 0
    bool skipped = false;
    for (index_t i = 0; i < cols; ++i) {
      if (x[i] == scores[i] && x[i] == static_cast<T>(most) && !skipped) {
        skipped = true;
      } else {
        others += std::exp(static_cast<long double>(x[i]) - most);
      }
    }
  }
  long double probability(index_t i) const { return std::exp(scores[i] - most) / sum; }
  long double loss(index_t i) const { return (most - scores[i]) + std::log1p(others); }

  const T* scores;
  long double most;
  long double sum = 0;
  long double others = 0;
};

// Roundings of a row's sum: in float64, 16 lanes and four levels of the tree.
template <class T>
double sum_roundings(index_t cols) {
  return sizeof(T) == 4 ? 0.1 : static_cast<double>(cols) / 16 + 5;
}

// Error of a row's loss: exp 1 ULP, log 1 ULP (in float64), one addition; and what underflows.
template <class T>
long double loss_bound(index_t cols, long double exact) {
  const double relative = sizeof(T) == 4 ? 4 : 6 + sum_roundings<T>(cols);
  return relative * kUnit<T> * exact +
         static_cast<long double>(cols) * std::numeric_limits<T>::denorm_min();
}

class SoftmaxKernel : public IsaTest {};
NNEXT_EVERY_ISA(SoftmaxKernel);

TEST_P(SoftmaxKernel, ProbabilitiesAndLossesAreWithinTheirBounds) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for (const index_t cols : edge_sizes(kernels.lanes)) {
      if (cols == 0) continue;
      for (const index_t rows : {1, 2, 9, 63, 64, 65, 129}) {
        const Array<T> x(rows * cols, /*seed=*/1, &score<T>);
        const std::vector<std::int64_t> t = labels(rows, cols);
        Array<T> y(rows * cols);
        Array<double> loss(rows);
        kernels.softmax(x.data(), y.data(), rows, cols, t.data(), loss.data());
        Array<T> alone(rows * cols);
        kernels.softmax(x.data(), alone.data(), rows, cols, nullptr, nullptr);
        ASSERT_TRUE(same_bits(y, alone)) << "with and without labels";
        Array<T> in_place(x);
        Array<double> loss_in_place(rows);
        kernels.softmax(in_place.data(), in_place.data(), rows, cols, t.data(),
                        loss_in_place.data());
        ASSERT_TRUE(same_bits(y, in_place)) << "in place";
        ASSERT_TRUE(same_bits(loss, loss_in_place)) << "in place";
        ASSERT_TRUE(loss.guards_intact());
        for (index_t r = 0; r < rows; ++r) {
          const Exact<T> exact(x.data() + r * cols, cols);
          double sum = 0;
          for (index_t i = 0; i < cols; ++i) {
            // exp 1 ULP in the element and in the sum, the inverse, the product
            const long double p = exact.probability(i);
            const long double bound = (6.5L + sum_roundings<T>(cols)) * kUnit<T> * p +
                                      2.0L * std::numeric_limits<T>::denorm_min();
            ASSERT_LE(std::abs(y[r * cols + i] - p), bound) << rows << " x " << cols;
            ASSERT_GE(y[r * cols + i], T{0});
            ASSERT_LE(y[r * cols + i], T{1});
            sum += static_cast<double>(y[r * cols + i]);
          }
          ASSERT_LE(std::abs(sum - 1), static_cast<double>(cols) * kUnit<T>) << rows << "x" << cols;
          const long double expected = exact.loss(t[static_cast<std::size_t>(r)]);
          ASSERT_LE(std::abs(loss[r] - expected), loss_bound<T>(cols, expected))
              << rows << " x " << cols;
        }
      }
    }
  });
}

TEST_P(SoftmaxKernel, LossesFromZeroToTenThousandKeepTheirDigits) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for (const index_t cols : {2, 3, 10, 17, 100}) {
      for (int step = 0; step < 217; ++step) {
        const double distance = 0.37 * step;
        for (const double base : {0.0, -3.3, 1000.1, -1e6}) {
          Array<T> x(cols);
          std::fill_n(x.data(), cols, static_cast<T>(base));
          const index_t top = cols / 2;
          x[top] = static_cast<T>(base + distance);
          for (const std::int64_t t : {top, index_t{0}}) {
            Array<T> y(cols);
            double loss = kNan<double>;
            kernels.softmax(x.data(), y.data(), 1, cols, &t, &loss);
            const long double exact = Exact<T>(x.data(), cols).loss(t);
            ASSERT_LE(std::abs(loss - exact), loss_bound<T>(cols, exact))
                << cols << " classes, " << base << " + " << distance;
          }
        }
      }
    }
    const T far[] = {0, T(-9999.5), T(-120.25)};
    for (const std::int64_t t : {0, 1, 2}) {
      T y[3];
      double loss = kNan<double>;
      kernels.softmax(far, y, 1, 3, &t, &loss);
      const long double exact = Exact<T>(far, 3).loss(t);
      EXPECT_LE(std::abs(loss - exact), loss_bound<T>(3, exact)) << t;
    }
  });
}

// One special score among finite ones, in every place of rows around the edges of a vector.
TEST_P(SoftmaxKernel, SpecialScoresHaveTheirWrittenAnswers) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for (index_t cols = 2; cols <= 2 * kernels.lanes + 1; ++cols) {
      for (index_t place = 0; place < cols; ++place) {
        const std::int64_t there = place;
        const std::int64_t other = place == 0 ? 1 : 0;
        const auto run = [&](T special, T rest, std::int64_t t) {
          Array<T> x(cols);
          std::fill_n(x.data(), cols, rest);
          x[place] = special;
          Array<T> y(cols);
          double loss = 0;
          kernels.softmax(x.data(), y.data(), 1, cols, &t, &loss);
          EXPECT_TRUE(y.guards_intact());
          return std::pair(y, loss);
        };
        for (const T special : {kNan<T>, kInf<T>}) {
          for (const T rest : {T{1}, -kInf<T>}) {
            const auto [y, loss] = run(special, rest, other);
            for (const T value : y) ASSERT_TRUE(std::isnan(value)) << special << " at " << place;
            ASSERT_TRUE(std::isnan(loss));
          }
        }
        {
          const auto [y, loss] = run(-kInf<T>, -kInf<T>, there);
          for (const T value : y) ASSERT_TRUE(std::isnan(value)) << "all -inf";
          ASSERT_TRUE(std::isnan(loss));
        }
        {
          const auto [y, loss] = run(-kInf<T>, T{2}, there);
          ASSERT_EQ(y[place], T{0});
          ASSERT_EQ(loss, kInf<double>);
          ASSERT_NEAR(y[other], 1.0 / static_cast<double>(cols - 1), 2 * kUnit<T>);
        }
        for (const T large : {T(1e30), kInf<T>}) {
          const auto [y, loss] = run(T(1e30), -large, there);
          ASSERT_EQ(y[place], T{1});
          ASSERT_EQ(y[other], T{0});
          ASSERT_EQ(loss, 0);
        }
        {
          const auto [y, loss] = run(T(-1e30), T(1e30), there);
          ASSERT_EQ(y[place], T{0});
          ASSERT_DOUBLE_EQ(loss, 2 * static_cast<double>(T(1e30)));
        }
      }
    }
  });
}

TEST_P(SoftmaxKernel, SameBitsAsPortableAndForEachRowAlone) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    const Kernels<T>& portable = portable_kernels<T>();
    for (const auto draw : {&score<T>, &any_number<T>, &special_number<T>}) {
      for (const index_t cols : edge_sizes(kernels.lanes)) {
        const index_t rows = cols == 0 ? 0 : 70;
        const Array<T> x(rows * cols, /*seed=*/1, draw);
        const Array<T> dout(rows * cols, /*seed=*/2, draw);
        const std::vector<std::int64_t> t = labels(rows, std::max<index_t>(cols, 1));
        Array<T> expected(rows * cols);
        Array<double> expected_loss(rows);
        portable.softmax(x.data(), expected.data(), rows, cols, t.data(), expected_loss.data());
        Array<T> y(rows * cols);
        Array<double> loss(rows);
        kernels.softmax(x.data(), y.data(), rows, cols, t.data(), loss.data());
        ASSERT_TRUE(same_bits(expected, y)) << cols;
        ASSERT_TRUE(same_bits(expected_loss, loss)) << cols;
        Array<T> apart(rows * cols);
        Array<double> apart_loss(rows);
        for (index_t r = 0; r < rows; ++r) {
          kernels.softmax(x.data() + r * cols, apart.data() + r * cols, 1, cols, &t[0] + r,
                          &apart_loss[r]);
        }
        ASSERT_TRUE(same_bits(expected, apart)) << cols;
        ASSERT_TRUE(same_bits(expected_loss, apart_loss)) << cols;
        Array<T> expected_dx(rows * cols);
        portable.softmax_backward(y.data(), dout.data(), expected_dx.data(), rows, cols);
        Array<T> dx(rows * cols);
        kernels.softmax_backward(y.data(), dout.data(), dx.data(), rows, cols);
        ASSERT_TRUE(same_bits(expected_dx, dx)) << cols;
      }
    }
  });
}

TEST_P(SoftmaxKernel, GradientIsWithinItsBound) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for (const index_t cols : edge_sizes(kernels.lanes)) {
      constexpr index_t kRows = 3;
      const Array<T> y(kRows * cols, /*seed=*/1, &positive_number<T>);
      const Array<T> dout(kRows * cols, /*seed=*/2, &real_number<T>);
      Array<T> dx(kRows * cols);
      kernels.softmax_backward(y.data(), dout.data(), dx.data(), kRows, cols);
      ASSERT_TRUE(dx.guards_intact());
      for (index_t r = 0; r < kRows; ++r) {
        long double total = 0;
        long double size = 0;
        for (index_t i = r * cols; i < (r + 1) * cols; ++i) {
          total += static_cast<long double>(y[i]) * dout[i];
          size += std::abs(static_cast<long double>(y[i]) * dout[i]);
        }
        for (index_t i = r * cols; i < (r + 1) * cols; ++i) {
          // products and their sum, the sum rounded, the difference, the product
          const long double bound = kUnit<T> * y[i] *
                                    ((1.1L + sum_roundings<T>(cols)) * size +
                                     1.1L * std::abs(total) + 2.2L * std::abs(dout[i] - total));
          ASSERT_LE(std::abs(dx[i] - y[i] * (dout[i] - total)), bound) << cols;
        }
      }
    }
  });
}

TEST_P(SoftmaxKernel, GradientsThatAreNotFinitePassThrough) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for (const index_t cols : {2, 17, 40}) {
      for (index_t place = 0; place < cols; ++place) {
        Array<T> y(cols);
        std::fill_n(y.data(), cols, T{1} / static_cast<T>(cols));
        for (const T special : {kInf<T>, -kInf<T>, kNan<T>, -kNan<T>}) {
          Array<T> dout(cols);
          std::fill_n(dout.data(), cols, T{1});
          dout[place] = special;
          Array<T> dx(cols);
          kernels.softmax_backward(y.data(), dout.data(), dx.data(), 1, cols);
          for (index_t i = 0; i < cols; ++i) {
            const T expected = y[i] * (dout[i] - special);  // the sum is the special one too
            ASSERT_TRUE(std::isnan(expected) ? std::isnan(dx[i]) : dx[i] == expected) << i;
          }
        }
      }
    }
  });
}

TEST_P(SoftmaxKernel, LossGradientsAreTheirFormulasBitByBit) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    const T factor = T(1) / 7;
    for (const index_t cols : edge_sizes(kernels.lanes)) {
      for (const index_t rows : {0, 1, 5}) {
        const index_t n = rows * cols;
        const Array<T> y(n, /*seed=*/1, &positive_number<T>);
        const std::vector<std::int64_t> index =
            labels(cols == 0 ? 0 : rows, std::max<index_t>(cols, 1));
        Array<T> expected(n);
        for (index_t i = 0; i < n; ++i) {
          const bool labelled = index[static_cast<std::size_t>(i / cols)] == i % cols;
          expected[i] = (labelled ? y[i] - 1 : y[i]) * factor;
        }
        Array<T> dx(n);
        kernels.softmax_loss_backward(y.data(), index.data(), factor, dx.data(),
                                      cols == 0 ? 0 : rows, cols);
        ASSERT_TRUE(same_bits(expected, dx)) << rows << " x " << cols;
      }
    }
  });
}

TEST_P(SoftmaxKernel, TouchesNothingPastItsArrays) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for (index_t n = 1; n <= 2 * kernels.lanes + 17; ++n) {
      PageEnd<T> x(n, T{1});
      PageEnd<T> dout(n, T{1});
      PageEnd<T> y(n, T{0});
      PageEnd<double> loss(1, 0.0);
      PageEnd<std::int64_t> t(1, n - 1);
      kernels.softmax(x.data(), y.data(), 1, n, t.data(), loss.data());
      kernels.softmax_backward(x.data(), dout.data(), y.data(), 1, n);
      kernels.softmax_loss_backward(x.data(), t.data(), T{1}, y.data(), 1, n);
      EXPECT_EQ(y.data()[n - 1], T{0});
    }
  });
}

template <class T>
class Softmax : public testing::Test {};
TYPED_TEST_SUITE(Softmax, Reals, RealNames);

TYPED_TEST(Softmax, RowsAndLossesDoNotDependOnThreads) {
  using T = TypeParam;
  constexpr struct {
    index_t rows, cols;
  } kShapes[] = {{0, 5}, {1, 10}, {30, 3}, {257, 10}, {5000, 10}, {300, 1000}, {2, 20000}};
  for (const auto& shape : kShapes) {
    const auto [rows, cols] = shape;
    const index_t n = rows * cols;
    const Array<T> x(n, /*seed=*/1, &score<T>);
    const std::vector<std::int64_t> t = labels(rows, cols);
    Array<T> y(n);
    Array<double> losses(rows);
    kernels<T>().softmax(x.data(), y.data(), rows, cols, t.data(), losses.data());
    Array<T> gradient(n);
    kernels<T>().softmax_backward(y.data(), x.data(), gradient.data(), rows, cols);
    Array<T> loss_gradient(n);
    kernels<T>().softmax_loss_backward(y.data(), t.data(), T(0.125), loss_gradient.data(), rows,
                                       cols);
    for (const int threads : {1, 2, 3, 8}) {
      SCOPED_TRACE(threads);
      const ThreadsInUse in_use(threads);
      Array<T> out(n);
      softmax(x.data(), out.data(), rows, cols);
      ASSERT_TRUE(same_bits(y, out));
      Array<T> dx(n);
      softmax_backward(y.data(), x.data(), dx.data(), rows, cols);
      ASSERT_TRUE(same_bits(gradient, dx));
      const std::vector<double> factor(static_cast<std::size_t>(rows), 0.125);
      softmax_loss_backward<T>(nullptr, y.data(), dx.data(), rows, cols, {t.data()}, {},
                               factor.data());
      ASSERT_TRUE(same_bits(loss_gradient, dx));
      Array<T> with_loss(n);
      Array<double> loss(rows);
      softmax_loss<T>(x.data(), with_loss.data(), rows, cols, {t.data()}, {}, loss.data());
      ASSERT_TRUE(same_bits(y, with_loss));
      ASSERT_TRUE(same_bits(losses, loss));
    }
  }
}

template <class T>
class Losses : public testing::Test {};
TYPED_TEST_SUITE(Losses, Reals, RealNames);

TYPED_TEST(Losses, CrossEntropyIsTheBooksFormula) {
  using T = TypeParam;
  for (const index_t rows : {1, 2, 255, 256, 257, 3000}) {
    Array<T> y(rows * 7, /*seed=*/1, &positive_number<T>);
    y[0] = 0;
    const std::vector<std::int64_t> t(static_cast<std::size_t>(rows), 0);
    long double sum = 0;
    for (index_t r = 0; r < rows; ++r) sum -= std::log(static_cast<long double>(y[r * 7]) + 1e-7L);
    const double loss = cross_entropy_error<T>(y.data(), {t.data()}, rows, 7);
    EXPECT_NEAR(loss, static_cast<double>(sum / rows), 1e-15 * static_cast<double>(rows)) << rows;
  }
}

TYPED_TEST(Losses, CrossEntropyOfSoftRowsIsTheSumOverTheirClasses) {
  using T = TypeParam;
  constexpr index_t kCols = 5;
  const Array<T> y(3 * kCols, /*seed=*/1, &positive_number<T>);
  const T soft[kCols] = {T{0.5f}, 0, T{0.25f}, T{0.25f}, 0};
  const std::int64_t t[] = {2, -2, 4};
  const T* const rows[] = {nullptr, soft, nullptr};
  const auto log_of = [&](index_t i) { return std::log(static_cast<long double>(y[i]) + 1e-7L); };
  long double sum = -log_of(2) - log_of(14);
  for (index_t c = 0; c < kCols; ++c) sum -= soft[c] * log_of(kCols + c);
  EXPECT_NEAR(cross_entropy_error<T>(y.data(), {t, rows}, 3, kCols), static_cast<double>(sum / 3),
              1e-15);
}

}  // namespace
}  // namespace nnext::test
