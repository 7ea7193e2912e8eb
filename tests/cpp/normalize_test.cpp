// Layer norm and batch norm: against long double, the same bits on every instruction set and number
// of threads, and the rules for rows and columns without variance, numbers that are none, and sums
// of many terms.
#include "nnext/normalize.h"

#include "recorded.h"
#include "support.h"

namespace nnext::test {
namespace {

constexpr double kEps = 1e-5;

// Roundings of float64 on the way to a result of numbers around 1, and the one of the result.
template <class T>
long double bound_of(long double exact, long double size) {
  return 1.01L * kUnit<T> * std::abs(exact) + 1e-13L * (1 + size);
}

template <class T>
T shifted_number(Random& random) {
  return static_cast<T>(random.real(-3, 5));
}

// Mean and 1 / sqrt(variance + eps) of n elements `step` apart.
struct Stats {
  template <class T>
  Stats(const T* x, index_t n, index_t step) {
    for (index_t i = 0; i < n; ++i) mean += static_cast<long double>(x[i * step]);
    mean /= static_cast<long double>(n);
    for (index_t i = 0; i < n; ++i) {
      const long double d = static_cast<long double>(x[i * step]) - mean;
      variance += d * d;
    }
    variance /= static_cast<long double>(n);
    rstd = 1 / std::sqrt(variance + static_cast<long double>(kEps));
  }
  long double mean = 0;
  long double variance = 0;
  long double rstd = 0;
};

// A batch, what it is normalized with, and room for all results.
template <class T>
struct Batch {
  Batch(index_t rows_, index_t cols_)
      : rows(rows_),
        cols(cols_),
        x(rows * cols, /*seed=*/1, &shifted_number<T>),
        dout(rows * cols, /*seed=*/2, &real_number<T>),
        gamma(cols, /*seed=*/3, &shifted_number<T>),
        beta(cols, /*seed=*/4, &shifted_number<T>),
        y(rows * cols),
        dx(rows * cols),
        dgamma(cols),
        dbeta(cols),
        row_mean(rows),
        row_rstd(rows),
        mean(cols),
        variance(cols) {}

  void layer_norm_and_backward() {
    layer_norm<T>(x.data(), gamma.data(), beta.data(), kEps, y.data(), row_mean.data(),
                  row_rstd.data(), rows, cols);
    layer_norm_backward<T>(x.data(), gamma.data(), dout.data(), row_mean.data(), row_rstd.data(),
                           dx.data(), dgamma.data(), dbeta.data(), rows, cols);
  }
  void batch_norm_and_backward(Moments moments) {
    if (moments == Moments::kOfBatch) {
      column_moments<T>(x.data(), mean.data(), variance.data(), rows, cols);
    }
    batch_norm<T>(x.data(), gamma.data(), beta.data(), mean.data(), variance.data(), kEps, y.data(),
                  rows, cols);
    batch_norm_backward<T>(x.data(), gamma.data(), dout.data(), mean.data(), variance.data(), kEps,
                           moments, dx.data(), dgamma.data(), dbeta.data(), rows, cols);
  }
  testing::AssertionResult same_as(const Batch& other) const {
    for (const auto& [mine, its] : {std::pair{&y, &other.y},
                                    {&dx, &other.dx},
                                    {&dgamma, &other.dgamma},
                                    {&dbeta, &other.dbeta}}) {
      if (const auto result = same_bits(*its, *mine); !result) return result;
    }
    return testing::AssertionSuccess();
  }

  index_t rows, cols;
  Array<T> x, dout, gamma, beta, y, dx, dgamma, dbeta;
  Array<double> row_mean, row_rstd, mean, variance;
};

// What a batch should have become, given the mean and rstd of each element's row or column.
template <class T, class Of>
void expect_parameter_gradients(const Batch<T>& b, const Of& of) {
  std::vector<long double> dgamma(static_cast<std::size_t>(b.cols));
  std::vector<long double> dbeta(dgamma);
  for (index_t r = 0; r < b.rows; ++r) {
    for (index_t j = 0; j < b.cols; ++j) {
      const index_t i = r * b.cols + j;
      const Stats& stats = of(r, j);
      const long double d = b.dout[i];
      dgamma[static_cast<std::size_t>(j)] += d * (b.x[i] - stats.mean) * stats.rstd;
      dbeta[static_cast<std::size_t>(j)] += d;
    }
  }
  const auto sizes = [&](index_t) { return static_cast<long double>(b.rows) * 4; };
  for (const auto& [found, exact] : {std::pair{&b.dgamma, &dgamma}, {&b.dbeta, &dbeta}}) {
    const auto at = [&, e = exact](index_t j) { return (*e)[static_cast<std::size_t>(j)]; };
    EXPECT_TRUE(within(*found, at, [&](index_t j) { return bound_of<T>(at(j), sizes(j)); }));
  }
}

std::vector<index_t> row_counts() { return {0, 1, 2, 3, 4, 5, 17, 35}; }

template <class T>
class Normalize : public testing::Test {};
TYPED_TEST_SUITE(Normalize, Reals, RealNames);

TYPED_TEST(Normalize, LayerNormAndItsGradientsAreTheFormulas) {
  using T = TypeParam;
  for (const index_t cols : edge_sizes(kernels<T>().lanes)) {
    for (const index_t rows : row_counts()) {
      SCOPED_TRACE(testing::Message() << rows << " rows of " << cols);
      Batch<T> b(rows, cols);
      b.layer_norm_and_backward();
      std::vector<Stats> stats;
      stats.reserve(static_cast<std::size_t>(rows));
      for (index_t r = 0; r < rows && cols > 0; ++r) stats.emplace_back(&b.x[r * cols], cols, 1);
      const auto of = [&](index_t i) -> const Stats& {
        return stats[static_cast<std::size_t>(i / cols)];
      };
      const auto z = [&](index_t i) { return (b.x[i] - of(i).mean) * of(i).rstd; };
      const auto h = [&](index_t i) {
        return static_cast<long double>(b.dout[i]) * b.gamma[i % cols];
      };
      const auto y = [&](index_t i) { return z(i) * b.gamma[i % cols] + b.beta[i % cols]; };
      EXPECT_TRUE(within(b.y, y, [&](index_t i) { return bound_of<T>(y(i), 20); }));
      std::vector<long double> mean_h(static_cast<std::size_t>(rows));
      std::vector<long double> mean_hz(mean_h);
      for (index_t i = 0; i < rows * cols; ++i) {
        mean_h[static_cast<std::size_t>(i / cols)] += h(i) / static_cast<long double>(cols);
        mean_hz[static_cast<std::size_t>(i / cols)] += h(i) * z(i) / static_cast<long double>(cols);
      }
      const auto dx = [&](index_t i) {
        const auto r = static_cast<std::size_t>(i / cols);
        return of(i).rstd * (h(i) - mean_h[r] - z(i) * mean_hz[r]);
      };
      EXPECT_TRUE(within(b.dx, dx, [&](index_t i) { return bound_of<T>(dx(i), 20 * of(i).rstd); }));
      expect_parameter_gradients(b, [&](index_t r, index_t) -> const Stats& {
        return stats[static_cast<std::size_t>(r)];
      });
    }
  }
}

TYPED_TEST(Normalize, BatchNormAndItsGradientsAreTheFormulas) {
  using T = TypeParam;
  for (const index_t cols : edge_sizes(kernels<T>().lanes)) {
    for (const index_t rows : row_counts()) {
      SCOPED_TRACE(testing::Message() << rows << " rows of " << cols);
      if (rows == 0) continue;
      Batch<T> b(rows, cols);
      b.batch_norm_and_backward(Moments::kOfBatch);
      std::vector<Stats> stats;
      stats.reserve(static_cast<std::size_t>(cols));
      for (index_t j = 0; j < cols; ++j) stats.emplace_back(&b.x[j], rows, cols);
      const auto of = [&](index_t i) -> const Stats& {
        return stats[static_cast<std::size_t>(i % cols)];
      };
      const auto z = [&](index_t i) { return (b.x[i] - of(i).mean) * of(i).rstd; };
      const auto y = [&](index_t i) { return z(i) * b.gamma[i % cols] + b.beta[i % cols]; };
      EXPECT_TRUE(within(b.y, y, [&](index_t i) { return bound_of<T>(y(i), 20); }));
      expect_parameter_gradients(b, [&](index_t, index_t j) -> const Stats& {
        return stats[static_cast<std::size_t>(j)];
      });
      std::vector<long double> mean(static_cast<std::size_t>(cols));
      std::vector<long double> mean_z(mean);
      for (index_t i = 0; i < rows * cols; ++i) {
        const auto j = static_cast<std::size_t>(i % cols);
        mean[j] += static_cast<long double>(b.dout[i]) / static_cast<long double>(rows);
        mean_z[j] += b.dout[i] * z(i) / static_cast<long double>(rows);
      }
      const auto dx = [&](index_t i) {
        const auto j = static_cast<std::size_t>(i % cols);
        return b.gamma[i % cols] * of(i).rstd * (b.dout[i] - mean[j] - z(i) * mean_z[j]);
      };
      EXPECT_TRUE(within(b.dx, dx, [&](index_t i) { return bound_of<T>(dx(i), 20 * of(i).rstd); }));
    }
  }
}

TYPED_TEST(Normalize, GivenMomentsAreConstants) {
  using T = TypeParam;
  Batch<T> b(19, 37);
  for (index_t j = 0; j < b.cols; ++j) {
    b.mean[j] = 0.25 * static_cast<double>(j % 5);
    b.variance[j] = 0.5 + static_cast<double>(j % 3);
  }
  const Array<double> mean = b.mean;
  b.batch_norm_and_backward(Moments::kGiven);
  EXPECT_TRUE(same_bits(mean, b.mean));
  const auto rstd = [&](index_t i) {
    return 1 / std::sqrt(static_cast<long double>(b.variance[i % b.cols]) + kEps);
  };
  const auto y = [&](index_t i) {
    return (b.x[i] - static_cast<long double>(b.mean[i % b.cols])) * rstd(i) * b.gamma[i % b.cols] +
           b.beta[i % b.cols];
  };
  const auto dx = [&](index_t i) { return b.dout[i] * rstd(i) * b.gamma[i % b.cols]; };
  EXPECT_TRUE(within(b.y, y, [&](index_t i) { return bound_of<T>(y(i), 20); }));
  EXPECT_TRUE(within(b.dx, dx, [&](index_t i) { return bound_of<T>(dx(i), 1); }));
  // A row alone has the same bits.
  Batch<T> alone(1, b.cols);
  batch_norm<T>(&b.x[7 * b.cols], b.gamma.data(), b.beta.data(), b.mean.data(), b.variance.data(),
                kEps, alone.y.data(), 1, b.cols);
  for (index_t j = 0; j < b.cols; ++j) EXPECT_TRUE(same(alone.y[j], b.y[7 * b.cols + j]));
}

TYPED_TEST(Normalize, TheInputsGradientMayBeLeftOut) {
  using T = TypeParam;
  for (const bool of_rows : {true, false}) {
    Batch<T> whole(21, 50);
    Batch<T> rest(21, 50);
    if (of_rows) {
      whole.layer_norm_and_backward();
      layer_norm_backward<T>(rest.x.data(), rest.gamma.data(), rest.dout.data(),
                             whole.row_mean.data(), whole.row_rstd.data(), nullptr,
                             rest.dgamma.data(), rest.dbeta.data(), 21, 50);
    } else {
      whole.batch_norm_and_backward(Moments::kOfBatch);
      batch_norm_backward<T>(rest.x.data(), rest.gamma.data(), rest.dout.data(), whole.mean.data(),
                             whole.variance.data(), kEps, Moments::kOfBatch, nullptr,
                             rest.dgamma.data(), rest.dbeta.data(), 21, 50);
    }
    EXPECT_TRUE(same_bits(whole.dgamma, rest.dgamma));
    EXPECT_TRUE(same_bits(whole.dbeta, rest.dbeta));
  }
}

TYPED_TEST(Normalize, WithoutVarianceTheResultIsBeta) {
  using T = TypeParam;
  for (const T value : {T{0}, T(0.1), T(1e10) / 3, T(-1e30)}) {
    Batch<T> b(23, 43);
    for (index_t i = 0; i < b.x.size(); ++i) b.x[i] = value;
    for (const bool of_rows : {true, false}) {
      if (of_rows) {
        b.layer_norm_and_backward();
      } else {
        b.batch_norm_and_backward(Moments::kOfBatch);
      }
      for (index_t i = 0; i < b.y.size(); ++i) {
        EXPECT_EQ(b.y[i], b.beta[i % b.cols]) << value;
        EXPECT_TRUE(std::isfinite(b.dx[i]));
      }
      for (const T g : b.dgamma) EXPECT_EQ(g, 0);
    }
  }
}

TYPED_TEST(Normalize, WhatIsNoNumberStaysWithItsRowOrColumn) {
  using T = TypeParam;
  for (const T bad : {kNan<T>, kInf<T>, -kInf<T>}) {
    Batch<T> b(6, 35);
    Batch<T> clean(6, 35);
    b.x[2 * 35 + 3] = bad;
    b.layer_norm_and_backward();
    clean.layer_norm_and_backward();
    for (index_t i = 0; i < b.y.size(); ++i) {
      EXPECT_TRUE(i / 35 == 2 ? std::isnan(b.y[i]) : same(b.y[i], clean.y[i])) << bad << ' ' << i;
      EXPECT_TRUE(i / 35 == 2 ? std::isnan(b.dx[i]) : same(b.dx[i], clean.dx[i]));
    }
    b.batch_norm_and_backward(Moments::kOfBatch);
    clean.batch_norm_and_backward(Moments::kOfBatch);
    for (index_t i = 0; i < b.y.size(); ++i) {
      EXPECT_TRUE(i % 35 == 3 ? std::isnan(b.y[i]) : same(b.y[i], clean.y[i])) << bad << ' ' << i;
      EXPECT_TRUE(i % 35 == 3 ? std::isnan(b.dx[i]) : same(b.dx[i], clean.dx[i]));
    }
  }
}

// One number far from the others is the first: the origin of the sums.
TYPED_TEST(Normalize, AFarOriginCostsNoDigits) {
  using T = TypeParam;
  for (const index_t n : {1000, 20011}) {
    Batch<T> row(1, n);
    row.x[0] = T{1e4};
    row.layer_norm_and_backward();
    const Stats exact(row.x.data(), n, 1);
    EXPECT_NEAR(row.row_mean[0], static_cast<double>(exact.mean), 1e-11);
    EXPECT_NEAR(row.row_rstd[0] / static_cast<double>(exact.rstd), 1, 1e-11);
    Batch<T> column(n, 1);
    column.x[0] = T{1e4};
    column.batch_norm_and_backward(Moments::kOfBatch);
    EXPECT_NEAR(column.mean[0], static_cast<double>(exact.mean), 1e-11);
    EXPECT_NEAR(column.variance[0] / static_cast<double>(exact.variance), 1, 1e-11);
  }
}

TYPED_TEST(Normalize, RunningStatisticsMoveTowardsTheBatchs) {
  using T = TypeParam;
  const double mean[] = {1, -2, 0};
  const double variance[] = {4, 0.5, 0};
  T running_mean[] = {0, 2, std::numeric_limits<T>::min()};
  T running_variance[] = {1, 2, std::numeric_limits<T>::min()};
  update_running<T>(mean, variance, /*rows=*/5, /*momentum=*/0.75, running_mean, running_variance,
                    3);
  EXPECT_EQ(running_mean[0], T(0.25));
  EXPECT_EQ(running_mean[1], T{1});
  EXPECT_EQ(running_mean[2], T{0});  // below the smallest normal number
  EXPECT_EQ(running_variance[0], T(0.75 + 0.25 * 5));
  EXPECT_EQ(running_variance[1], T(1.5 + 0.25 * 0.625));
  EXPECT_EQ(running_variance[2], T{0});
  T before = running_variance[0];
  update_running<T>(mean, variance, /*rows=*/1, 0.5, running_mean, running_variance, 1);
  EXPECT_EQ(running_mean[0], T(0.625));
  EXPECT_EQ(running_variance[0], before);
}

TYPED_TEST(Normalize, ThreadsLeaveNoTrace) {
  using T = TypeParam;
  for (const auto& [rows, cols] : {std::pair<index_t, index_t>{2100, 130}, {70, 1100}}) {
    Batch<T> one(rows, cols);
    const ThreadsInUse one_thread(1);
    for (const bool of_rows : {true, false}) {
      const auto run = [&](Batch<T>& b) {
        if (of_rows) {
          b.layer_norm_and_backward();
        } else {
          b.batch_norm_and_backward(Moments::kOfBatch);
        }
      };
      run(one);
      for (const int threads : {2, 3, 8}) {
        const ThreadsInUse in_use(threads);
        Batch<T> many(rows, cols);
        run(many);
        EXPECT_TRUE(many.same_as(one)) << threads << " threads";
      }
    }
  }
}

// The hashes of tests/same_bits.txt.
TYPED_TEST(Normalize, BitsAreTheRecordedOnes) {
  using T = TypeParam;
  const std::string type = sizeof(T) == 4 ? " float32" : " float64";
  for (const auto& [rows, cols] :
       {std::pair<index_t, index_t>{200, 3}, {300, 37}, {70, 1000}, {3, 20011}, {20011, 3}}) {
    Batch<T> b(rows, cols);
    b.x = drawn_array<T>(rows * cols, 1, T{3}, T{1});
    b.dout = drawn_array<T>(rows * cols, 2);
    b.gamma = drawn_array<T>(cols, 3);
    b.beta = drawn_array<T>(cols, 4);
    const std::string shape =
        " (" + std::to_string(rows) + ", " + std::to_string(cols) + ")" + type;
    const auto hash = [&](const Array<double>& first, const Array<double>& second) {
      Hash sum;
      for (const Array<T>* const a : {&b.y, &b.dx, &b.dgamma, &b.dbeta}) sum.add(*a);
      sum.add(first);
      sum.add(second);
      return sum.text();
    };
    for (const int threads : {1, 2, 3, 8}) {
      const ThreadsInUse in_use(threads);
      b.layer_norm_and_backward();
      EXPECT_EQ(hash(b.row_mean, b.row_rstd), recorded("layer_norm and backward" + shape));
      b.batch_norm_and_backward(Moments::kOfBatch);
      EXPECT_EQ(hash(b.mean, b.variance), recorded("batch_norm and backward" + shape));
    }
  }
}

class NormalizeKernel : public IsaTest {};
NNEXT_EVERY_ISA(NormalizeKernel);

TEST_P(NormalizeKernel, GivesTheBitsOfThePortableOne) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for (const index_t cols : edge_sizes(kernels.lanes)) {
      for (const index_t rows : {1, 3, 4, 9}) {
        if (cols == 0) continue;
        const auto run = [&](const Kernels<T>& k, Batch<T>& b) {
          b.x[0] = std::numeric_limits<T>::denorm_min();
          b.gamma[cols - 1] = std::numeric_limits<T>::min();
          Array<double> zeros(2 * cols);
          std::fill_n(zeros.data(), zeros.size(), 0.0);
          Array<double> sums = zeros;
          k.layer_norm(b.x.data(), b.gamma.data(), b.beta.data(), kEps, b.y.data(),
                       b.row_mean.data(), b.row_rstd.data(), rows, cols);
          k.layer_norm_backward(b.x.data(), b.dout.data(), b.gamma.data(), b.row_mean.data(),
                                b.row_rstd.data(), b.dx.data(), sums.data(), sums.data() + cols,
                                rows, cols);
          Hash hash;
          const auto note = [&] {
            for (const Array<T>* const a : {&b.y, &b.dx}) {
              EXPECT_TRUE(a->guards_intact());
              hash.add(*a);
            }
            EXPECT_TRUE(sums.guards_intact());
            hash.add(sums);
          };
          note();
          k.distances(b.x.data(), cols, zeros.data(), sums.data(), sums.data() + cols, rows, cols);
          k.batch_norm_sums(b.x.data(), b.dout.data(), cols, zeros.data(), sums.data(),
                            sums.data() + cols, rows, cols);
          k.batch_norm(b.x.data(), cols, sums.data(), sums.data() + cols, zeros.data(), b.y.data(),
                       rows, cols);
          k.batch_norm_backward(b.x.data(), b.dout.data(), cols, zeros.data(), sums.data(),
                                sums.data() + cols, sums.data(), b.dx.data(), rows, cols);
          note();
          Array<T> roots(cols);
          k.inverse_root(b.x.data(), roots.data(), cols, T{9});
          EXPECT_TRUE(roots.guards_intact());
          hash.add(roots);
          return hash.text();
        };
        Batch<T> b(rows, cols);
        Batch<T> portable(rows, cols);
        EXPECT_EQ(run(kernels, b), run(portable_kernels<T>(), portable)) << rows << " x " << cols;
      }
    }
  });
}

}  // namespace
}  // namespace nnext::test
