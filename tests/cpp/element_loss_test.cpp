// Losses of single scores: each kernel against long double, then the operations.
#include "nnext/element_loss.h"

#include "page_end.h"
#include "support.h"

namespace nnext::test {
namespace {

constexpr LossKind kKinds[] = {LossKind::kSquared, LossKind::kAbsolute, LossKind::kHuber,
                               LossKind::kPoisson, LossKind::kBinary};
constexpr double kDelta = 1.5;

template <class T>
T score(Random& random) {
  return static_cast<T>(random.real(-5, 5));
}

// What a score loses, its slope and the prediction, from the formulas.
struct Exact {
  long double prediction;
  long double loss;
  long double slope;
  long double size;  // of the terms that the loss and the slope are made of
};

Exact exact(LossKind kind, long double x, long double t, long double weight) {
  const long double d = x - t;
  const long double size = std::abs(d);
  switch (kind) {
    case LossKind::kSquared:
      return {x, d * d, 2 * d, d * d + size};
    case LossKind::kAbsolute:
      return {x, size, d > 0 ? 1.0L : (d < 0 ? -1.0L : 0.0L), size + 1};
    case LossKind::kHuber: {
      const bool is_far = size > kDelta;
      return {x, is_far ? kDelta * (size - kDelta / 2) : d * d / 2,
              is_far ? (d > 0 ? kDelta : -kDelta) : d, (1 + kDelta) * size + d * d};
    }
    case LossKind::kPoisson:
      return {std::exp(x), std::exp(x) - t * x, std::exp(x) - t, std::exp(x) + std::abs(t * x) + t};
    case LossKind::kBinary: {
      const long double y = 1 / (1 + std::exp(-x));
      const long double positive = std::log1p(std::exp(-x));  // -log y
      const long double negative = std::log1p(std::exp(x));   // -log(1 - y)
      const long double loss = weight * t * positive + (1 - t) * negative;
      return {y, loss, y * (1 - t) - weight * t * (1 - y), loss + y * (1 - t) + weight * t};
    }
  }
  return {};
}

template <class T>
struct Sample {
  Array<T> x;
  Array<T> t;
  Array<T> weight;
  Array<double> factor;
  index_t rows;
  index_t cols;

  Sample(index_t of_rows, index_t of_cols)
      : x(of_rows * of_cols, /*seed=*/1, &score<T>),
        t(of_rows * of_cols, /*seed=*/2, &positive_number<T>),
        weight(of_cols, /*seed=*/3, &positive_number<T>),
        factor(of_rows, /*seed=*/4, &real_number<double>),
        rows(of_rows),
        cols(of_cols) {
    for (index_t i = 0; i < rows * cols; i += 3) t[i] = static_cast<T>(i % 2);  // hard labels too
    if (rows > 1) factor[1] = 0;
  }
  ElementLoss<T> loss(LossKind kind, bool is_weighted) const {
    return {kind, static_cast<T>(kDelta), is_weighted ? weight.data() : nullptr,
            kind == LossKind::kBinary ? 1 : static_cast<double>(cols) + 1};  // 2 for one column
  }
};

bool near(long double actual, long double expected, long double bound) {
  return std::abs(actual - expected) <= bound;
}

class ElementLossKernel : public IsaTest {};
NNEXT_EVERY_ISA(ElementLossKernel);

TEST_P(ElementLossKernel, LossesPredictionsAndGradientsAreTheirFormulas) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for (const index_t cols : edge_sizes(kernels.lanes)) {
      for (const index_t rows : {0, 1, 2, 15, 16, 17, 33}) {
        const Sample<T> in(rows, cols);
        for (const LossKind kind : kKinds) {
          for (const bool is_weighted : {false, true}) {
            if (is_weighted && kind != LossKind::kBinary) continue;
            const ElementLoss<T> loss = in.loss(kind, is_weighted);
            Array<T> y(rows * cols);
            Array<T> dx(rows * cols);
            Array<double> of_row(rows);
            kernels.element_loss(loss, in.x.data(), in.t.data(), y.data(), rows, cols,
                                 of_row.data());
            kernels.element_loss_backward(loss, y.data(), in.t.data(), in.factor.data(), dx.data(),
                                          rows, cols);
            ASSERT_TRUE(y.guards_intact() && dx.guards_intact() && of_row.guards_intact());
            for (index_t r = 0; r < rows; ++r) {
              long double sum = 0;
              long double size = 0;
              for (index_t i = r * cols; i < (r + 1) * cols; ++i) {
                const long double weight = is_weighted ? in.weight[i - r * cols] : 1;
                const Exact e = exact(kind, in.x[i], in.t[i], weight);
                sum += e.loss;
                size += e.size;
                ASSERT_TRUE(near(y[i], e.prediction, 4 * kUnit<T> * std::abs(e.prediction)));
                const double factor = in.factor[r] / loss.divisor;
                ASSERT_TRUE(
                    near(dx[i], e.slope * factor, 8 * kUnit<T> * std::abs(e.size * factor)));
              }
              const long double bound = 8 * kUnit<T> * size / loss.divisor;
              ASSERT_TRUE(near(of_row[r], sum / loss.divisor, bound))
                  << static_cast<int>(kind) << ' ' << rows << " x " << cols;
            }
          }
        }
      }
    }
  });
}

TEST_P(ElementLossKernel, HasTheSameBitsAsPortable) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for (const auto draw : {&score<T>, &special_number<T>, &any_number<T>}) {
      for (const auto& [rows, cols] : {std::pair<index_t, index_t>{1003, 1}, {17, 59}}) {
        Sample<T> in(rows, cols);
        in.x = Array<T>(rows * cols, /*seed=*/5, draw);
        for (const LossKind kind : kKinds) {
          for (const bool is_weighted : {false, true}) {
            if (is_weighted && kind != LossKind::kBinary) continue;
            const ElementLoss<T> loss = in.loss(kind, is_weighted);
            const auto compute = [&, r = rows, c = cols](const Kernels<T>& with, Array<T>& y,
                                                         Array<T>& dx, Array<double>& of_row) {
              with.element_loss(loss, in.x.data(), in.t.data(), y.data(), r, c, of_row.data());
              with.element_loss_backward(loss, y.data(), in.t.data(), in.factor.data(), dx.data(),
                                         r, c);
            };
            Array<T> expected(rows * cols);
            Array<T> expected_dx(rows * cols);
            Array<double> expected_loss(rows);
            compute(portable_kernels<T>(), expected, expected_dx, expected_loss);
            Array<T> y(rows * cols);
            Array<T> dx(rows * cols);
            Array<double> of_row(rows);
            compute(kernels, y, dx, of_row);
            ASSERT_TRUE(same_bits(expected, y)) << static_cast<int>(kind);
            ASSERT_TRUE(same_bits(expected_dx, dx)) << static_cast<int>(kind);
            ASSERT_TRUE(same_bits(expected_loss, of_row)) << static_cast<int>(kind);
          }
        }
      }
    }
  });
}

TEST_P(ElementLossKernel, TheBinaryLossNeverSaturates) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    const T x[] = {T(1e30), T(1e30), T(-1e30), T(-1e30), kNan<T>, 0, kInf<T>, -kInf<T>};
    const T t[] = {1, 0, 1, 0, 1, 1, 1, 0};
    const T one = 1;
    const double large = static_cast<double>(T(1e30));
    for (const T* const weight : {static_cast<const T*>(nullptr), &one}) {
      T y[8];
      double loss[8];
      kernels.element_loss({LossKind::kBinary, 1, weight, 1}, x, t, y, 8, 1, loss);
      EXPECT_EQ(loss[0], 0);
      EXPECT_EQ(loss[1], large);
      EXPECT_EQ(loss[2], large);
      EXPECT_EQ(loss[3], 0);
      EXPECT_TRUE(std::isnan(loss[4]) && std::isnan(y[4]));
      EXPECT_NEAR(loss[5], std::log(2.0), 2 * kUnit<T>);
      EXPECT_EQ(loss[6], 0);
      EXPECT_EQ(loss[7], 0);
    }
  });
}

TEST_P(ElementLossKernel, WhatIsNoNumberStaysNoneAndInfinitiesHaveTheirLimits) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    const T x[] = {kNan<T>, kInf<T>, -kInf<T>, -kInf<T>};
    const T t[] = {1, 1, 1, 0};
    const double factor[] = {1, 1, 1, 1};
    for (const LossKind kind : kKinds) {
      T y[4];
      T dx[4];
      double loss[4];
      kernels.element_loss({kind, 1, nullptr, 1}, x, t, y, 4, 1, loss);
      kernels.element_loss_backward({kind, 1, nullptr, 1}, y, t, factor, dx, 4, 1);
      EXPECT_TRUE(std::isnan(loss[0]) && std::isnan(y[0]) && std::isnan(dx[0]));
      EXPECT_EQ(loss[1], kind == LossKind::kBinary ? 0 : kInf<double>) << static_cast<int>(kind);
      EXPECT_EQ(loss[2], kInf<double>) << static_cast<int>(kind);
      const bool is_rate = kind == LossKind::kPoisson || kind == LossKind::kBinary;
      EXPECT_EQ(loss[3], is_rate ? 0 : kInf<double>) << static_cast<int>(kind);
    }
  });
}

TEST_P(ElementLossKernel, ARowWhoseFactorIsZeroHasNoGradientWhateverItHolds) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    const T y[] = {kNan<T>, kInf<T>, 3, 3};
    const T t[] = {0, 0, 1, 1};
    for (const index_t cols : {1, 2}) {
      const double factor[] = {0, cols == 1 ? 0.0 : 0.5, 0.5, 0.5};
      T dx[4];
      kernels.element_loss_backward({LossKind::kSquared, 1, nullptr, 1}, y, t, factor, dx, 4 / cols,
                                    cols);
      const T expected[] = {0, 0, 2, 2};
      EXPECT_TRUE(std::equal(dx, dx + 4, expected)) << cols;
    }
  });
}

TEST_P(ElementLossKernel, TouchesNothingPastItsArrays) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for (index_t n = 1; n <= 2 * kernels.lanes + 17; ++n) {
      PageEnd<T> x(n, T{1});
      PageEnd<T> t(n, T{1});
      PageEnd<T> weight(n, T{1});
      PageEnd<T> y(n, T{0});
      PageEnd<double> loss(n, 0.0);
      PageEnd<double> factor(n, 1.0);
      for (const auto& [rows, cols] : {std::pair<index_t, index_t>{n, 1}, {1, n}}) {
        for (const LossKind kind : kKinds) {
          const ElementLoss<T> of{kind, 1, kind == LossKind::kBinary ? weight.data() : nullptr, 1};
          const index_t at = n - rows;  // the last of the numbers of rows
          kernels.element_loss(of, x.data(), t.data(), y.data(), rows, cols, loss.data() + at);
          kernels.element_loss_backward(of, y.data(), t.data(), factor.data() + at, y.data(), rows,
                                        cols);
        }
      }
    }
  });
}

template <class T>
class ElementLosses : public testing::Test {};
TYPED_TEST_SUITE(ElementLosses, Reals, RealNames);

TYPED_TEST(ElementLosses, AreTheSameOnAnyNumberOfThreads) {
  using T = TypeParam;
  for (const auto& [rows, cols] : {std::pair<index_t, index_t>{100003, 1}, {700, 143}}) {
    const Sample<T> in(rows, cols);
    for (const LossKind kind : kKinds) {
      const ElementLoss<T> loss = in.loss(kind, kind == LossKind::kBinary);
      Array<T> y(rows * cols);
      Array<T> dx(rows * cols);
      Array<double> of_row(rows);
      kernels<T>().element_loss(loss, in.x.data(), in.t.data(), y.data(), rows, cols,
                                of_row.data());
      kernels<T>().element_loss_backward(loss, y.data(), in.t.data(), in.factor.data(), dx.data(),
                                         rows, cols);
      for (const int threads : {1, 2, 3, 8}) {
        const ThreadsInUse in_use(threads);
        Array<T> out(rows * cols);
        Array<T> gradient(rows * cols);
        Array<double> losses(rows);
        element_loss(loss, in.x.data(), in.t.data(), out.data(), rows, cols, losses.data());
        element_loss_backward(loss, out.data(), in.t.data(), in.factor.data(), gradient.data(),
                              rows, cols);
        EXPECT_TRUE(same_bits(y, out));
        EXPECT_TRUE(same_bits(dx, gradient));
        EXPECT_TRUE(same_bits(of_row, losses));
      }
    }
  }
}

}  // namespace
}  // namespace nnext::test
