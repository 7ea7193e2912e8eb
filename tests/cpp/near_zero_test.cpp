// Numbers near zero: results below the smallest normal number are zero, and no operation computes
// with such a number, or one. On x86 the processor itself says so: its status flags are sticky.
#include "near_zero.h"

#include <cstdlib>
#include <functional>

#include "nnext/cross_entropy.h"

namespace nnext::test {
namespace {

#if defined(__x86_64__)
TEST(NearZeroHelpers, SmallOperandsAndResultsAreNoticed) {
  const auto product = [](float x, float y) {
    volatile float factors[] = {x, y};  // so that the product is not known when this is compiled
    return meets_small_numbers([&] { factors[0] = factors[0] * factors[1]; });
  };
  EXPECT_FALSE(product(0x1p-126F, 1.5F));
  EXPECT_FALSE(product(0.0F, 1.5F));
  EXPECT_TRUE(product(0x1.000002p-126F, 0x1.000002p-1F));
  // Some emulators have no flag of operands.
  if (std::getenv("NNEXT_TEST_EMULATOR") == nullptr) {
    EXPECT_TRUE(product(0x1p-127F, 4.0F));
  }
}
#endif

constexpr index_t kSize = 4099;

class NearZero : public IsaTest {};
NNEXT_EVERY_ISA(NearZero);

TEST_P(NearZero, FunctionsMeetNoSmallNumberWhateverTheirArgument) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    Array<T> y(kSize);
    for (const Array<T>& x :
         {any_numbers<T>(kSize, 1), between<T>(kSize, 2, -800, 0), between<T>(kSize, 3, -110, 110),
          small_numbers<T>(kSize, 4), between<T>(kSize, 5, -45, 45), between<T>(kSize, 6, -3, 3)}) {
      for (const T slope : {T(0.01), T{3}, std::numeric_limits<T>::min()}) {
        EXPECT_FALSE(
            meets_small_numbers([&] { kernels.leaky_relu(x.data(), y.data(), kSize, slope); }));
        for (const T value : y) EXPECT_TRUE(same(value, normal(value)));
        Array<T> dx(kSize);
        EXPECT_FALSE(meets_small_numbers(
            [&] { kernels.leaky_relu_backward(y.data(), x.data(), dx.data(), kSize, slope); }));
        for (const T value : dx) EXPECT_TRUE(same(value, normal(value)));
      }
      for (const auto& [name, f] :
           {std::pair{"exp", kernels.exp}, std::pair{"sigmoid", kernels.sigmoid},
            std::pair{"tanh", kernels.tanh}, std::pair{"relu", kernels.relu},
            std::pair{"silu", kernels.silu}, std::pair{"gelu", kernels.gelu},
            std::pair{"gelu_tanh", kernels.gelu_tanh}}) {
        SCOPED_TRACE(name);
        EXPECT_FALSE(meets_small_numbers([&, g = f] { g(x.data(), y.data(), kSize); }));
        for (const T value : y) EXPECT_TRUE(same(value, normal(value)));
      }
    }
  });
}

TEST_P(NearZero, GradientsOfTheInputMeetNoSmallNumberWhateverTheInput) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    Array<T> dx(kSize);
    Array<T> ones(kSize);
    std::fill_n(ones.data(), kSize, T{1});
    for (const Array<T>& x :
         {any_numbers<T>(kSize, 1), between<T>(kSize, 2, -800, 0), between<T>(kSize, 3, -110, 110),
          small_numbers<T>(kSize, 4), between<T>(kSize, 5, -45, 45), between<T>(kSize, 6, -3, 3)}) {
      for (const Array<T>& dout : {any_numbers<T>(kSize, 7), small_numbers<T>(kSize, 8), ones}) {
        for (const auto& [name, f] :
             {std::pair{"silu", kernels.silu_backward}, std::pair{"gelu", kernels.gelu_backward},
              std::pair{"gelu_tanh", kernels.gelu_tanh_backward}}) {
          SCOPED_TRACE(name);
          EXPECT_FALSE(
              meets_small_numbers([&, g = f] { g(x.data(), dout.data(), dx.data(), kSize); }));
          for (const T value : dx) EXPECT_TRUE(same(value, normal(value)));
        }
      }
    }
  });
}

TEST_P(NearZero, GradientsMeetNoSmallNumber) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    const Array<T> x = between<T>(kSize, 1, -110, 110);
    std::vector<std::uint8_t> mask(kSize);
    for (index_t i = 0; i < kSize; ++i) mask[static_cast<std::size_t>(i)] = i * 7 % 3 == 0;
    Array<T> dx(kSize);
    for (const Array<T>& dout : {any_numbers<T>(kSize, 3), small_numbers<T>(kSize, 4)}) {
      for (const auto& [f, f_backward] : {std::pair{kernels.sigmoid, kernels.sigmoid_backward},
                                          std::pair{kernels.tanh, kernels.tanh_backward},
                                          std::pair{kernels.relu, kernels.relu_backward}}) {
        Array<T> y(kSize);
        f(x.data(), y.data(), kSize);
        EXPECT_FALSE(meets_small_numbers(
            [&, g = f_backward] { g(y.data(), dout.data(), dx.data(), kSize); }));
        for (const T value : dx) EXPECT_TRUE(same(value, normal(value)));
      }
      EXPECT_FALSE(meets_small_numbers(
          [&] { kernels.dropout_backward(dout.data(), mask.data(), dx.data(), kSize, T(1.25)); }));
      std::vector<std::uint8_t> drawn(kSize);
      EXPECT_FALSE(meets_small_numbers([&] {
        kernels.dropout(dout.data(), dx.data(), drawn.data(), kSize, 1, 0, 1U << 31, T{2});
      }));
      Array<T> scaled = dout;
      EXPECT_FALSE(meets_small_numbers([&] { kernels.scale(scaled.data(), kSize, T(0.01)); }));
      Array<T> small = small_numbers<T>(kSize, 5);
      EXPECT_FALSE(meets_small_numbers([&] { kernels.sum_of_squares(small.data(), kSize, 1); }));
    }
  });
}

TEST_P(NearZero, SoftmaxAndItsLossesMeetNoSmallNumber) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for (const index_t cols : {2, 8, 10, 15, 16, 17, 33, 1000}) {
      for (const double scale : {1, 20, 200}) {
        SCOPED_TRACE(testing::Message() << cols << " columns of scores times " << scale);
        const index_t rows = cols < 100 ? 7 : 1;
        const index_t n = rows * cols;
        const Array<T> x = between<T>(n, 1, -4 * scale, 4 * scale);
        const Array<T> dout = small_numbers<T>(n, 2, 80);
        std::vector<std::int64_t> t(static_cast<std::size_t>(rows));
        for (index_t r = 0; r < rows; ++r) t[static_cast<std::size_t>(r)] = r % cols;
        const std::vector<double> factor(static_cast<std::size_t>(rows), 1e-3);
        Array<double> loss(rows);
        Array<T> y(n);
        Array<T> dx(n);
        const auto check = [&](const char* what, const std::function<void()>& compute) {
          EXPECT_FALSE(meets_small_numbers(compute)) << what;
        };
        check("softmax",
              [&] { kernels.softmax(x.data(), y.data(), rows, cols, t.data(), loss.data()); });
        for (const T value : y) EXPECT_TRUE(same(value, normal(value)));
        check("softmax_backward",
              [&] { kernels.softmax_backward(y.data(), dout.data(), dx.data(), rows, cols); });
        check("softmax_loss_backward", [&] {
          kernels.softmax_loss_backward(y.data(), t.data(), T(1e-3), dx.data(), rows, cols);
        });
        for (const T value : dx) EXPECT_TRUE(same(value, normal(value)));
        const RowLabels<T> labels{.index = t.data(), .soft = nullptr};
        for (const double smoothing : {0.0, 0.1}) {
          for (const T softcap : {T{0}, T{30}}) {
            LossTerms<T> terms{};
            terms.smoothing = smoothing;
            terms.softcap = softcap;
            terms.weight_sum = static_cast<double>(cols);
            for (const RowResult result :
                 {RowResult::kLoss, RowResult::kProbabilities, RowResult::kGradient}) {
              Array<T> scores = x;
              check("cross_entropy", [&] {
                kernels.cross_entropy(scores.data(), cols, rows, cols, labels, terms, factor.data(),
                                      result, loss.data());
              });
            }
            terms.softcap = 0;
            check("cross_entropy_backward", [&] {
              kernels.cross_entropy_backward(y.data(), dx.data(), rows, cols, labels, terms,
                                             factor.data());
            });
          }
        }
        Array<T> targets(n);
        for (index_t i = 0; i < n; ++i) targets[i] = static_cast<T>(i % 3 % 2);
        Array<double> loss_of_row(n);
        Array<double> factors(n);
        Array<T> positive(n);
        for (index_t i = 0; i < n; ++i) {
          factors[i] = 1e-5;
          positive[i] = 3;
        }
        for (int kind = 0; kind <= 5; ++kind) {  // the last is the binary loss with weights
          const ElementLoss<T> loss{static_cast<LossKind>(std::min(kind, 4)), T{1},
                                    kind == 5 ? positive.data() : nullptr, 1};
          const std::string name = "element_loss " + std::to_string(kind);
          for (const auto& [rows_of, cols_of] :
               {std::pair<index_t, index_t>{n, 1}, {index_t{1}, n}}) {
            check(name.c_str(), [&, r = rows_of, c = cols_of] {
              kernels.element_loss(loss, x.data(), targets.data(), y.data(), r, c,
                                   loss_of_row.data());
            });
            check(name.c_str(), [&, r = rows_of, c = cols_of] {
              kernels.element_loss_backward(loss, y.data(), targets.data(), factors.data(),
                                            dx.data(), r, c);
            });
          }
        }
      }
    }
  });
}

TEST_P(NearZero, NormalizationsMeetNoSmallNumber) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    constexpr index_t kRows = 9;
    constexpr index_t kCols = 67;
    // Of float32 any finite number is far from the smallest normal float64.
    const index_t powers = sizeof(T) == 4 ? 160 : 400;
    for (const bool is_small : {false, true}) {
      const auto numbers = [&](index_t n, std::uint64_t seed) {
        return is_small ? small_numbers<T>(n, seed, powers) : between<T>(n, seed, -3, 3);
      };
      const Array<T> x = numbers(kRows * kCols, 1);
      const Array<T> dout = numbers(kRows * kCols, 2);
      const Array<T> gamma = numbers(kCols, 3);
      Array<T> beta = numbers(kCols, 4);
      for (index_t j = 0; j < kCols; j += 3) beta[j] = 0;
      Array<T> y(kRows * kCols);
      Array<double> mean(kCols);
      Array<double> rstd(kCols);
      Array<double> dgamma(kCols);
      Array<double> dbeta(kCols);
      const auto check = [&](const char* what, const std::function<void()>& compute) {
        EXPECT_FALSE(meets_small_numbers(compute)) << what;
        for (const T value : y) EXPECT_TRUE(same(value, normal(value))) << what;
      };
      for (Array<double>* const sums : {&mean, &dgamma, &dbeta}) {
        std::fill_n(sums->data(), kCols, 0.0);
      }
      std::fill_n(y.data(), y.size(), T{0});
      check("distances", [&] {
        kernels.distances(x.data(), kCols, mean.data(), dgamma.data(), dbeta.data(), kRows, kCols);
      });
      check("batch_norm_sums", [&] {
        kernels.batch_norm_sums(x.data(), dout.data(), kCols, mean.data(), dgamma.data(),
                                dbeta.data(), kRows, kCols);
      });
      for (index_t j = 0; j < kCols; ++j) mean[j] = static_cast<double>(normal(x[j]));
      std::fill_n(rstd.data(), kCols, 3.0);
      check("batch_norm", [&] {
        kernels.batch_norm(x.data(), kCols, mean.data(), rstd.data(), mean.data(), y.data(), kRows,
                           kCols);
      });
      check("batch_norm_backward", [&] {
        kernels.batch_norm_backward(x.data(), dout.data(), kCols, mean.data(), rstd.data(),
                                    mean.data(), rstd.data(), y.data(), kRows, kCols);
      });
      check("layer_norm", [&] {
        kernels.layer_norm(x.data(), gamma.data(), beta.data(), 1e-5, y.data(), mean.data(),
                           rstd.data(), kRows, kCols);
      });
      check("layer_norm_backward", [&] {
        kernels.layer_norm_backward(x.data(), dout.data(), gamma.data(), mean.data(), rstd.data(),
                                    y.data(), dgamma.data(), dbeta.data(), kRows, kCols);
      });
    }
  });
}

TEST_P(NearZero, OptimizersMeetNoSmallNumberAfterManyStepsOfNoOrSmallGradients) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    constexpr index_t kParameters = 67;
    const StepScalars<T> adam{.lr = T(1e-3),
                              .a = T(0.1),
                              .b = T(0.001),
                              .eps = T(1e-7),
                              .v_scale = T(1.5),
                              .keep = T(0.9999)};
    const StepScalars<T> other{
        .lr = T(0.01), .a = T(0.9), .b = T(0.81), .eps = T(1e-7), .v_scale = 0, .keep = 1};
    for (const bool has_gradient : {false, true}) {
      Array<T> p = between<T>(kParameters, 1, -1, 1);
      Array<T> g = between<T>(kParameters, 2, -1, 1);
      for (index_t i = 0; i < 5; ++i) p[i] = g[i] = 0;  // a unit that has died
      Array<T> states[2] = {between<T>(kParameters, 3, 0, 1), between<T>(kParameters, 4, 0, 1)};
      const auto step = [&](int which) {
        T* const m = states[0].data();
        switch (which) {
          case 0:
            return kernels.sgd(p.data(), g.data(), kParameters, other);
          case 1:
            return kernels.momentum(p.data(), g.data(), m, kParameters, other);
          case 2:
            return kernels.nesterov(p.data(), g.data(), m, kParameters, other);
          case 3:
            return kernels.book_nesterov(p.data(), g.data(), m, kParameters, other);
          case 4:
            return kernels.adagrad(p.data(), g.data(), m, kParameters, other);
          case 5:
            return kernels.rmsprop(p.data(), g.data(), m, kParameters, other);
          default:
            return kernels.adam(p.data(), g.data(), m, states[1].data(), kParameters, adam);
        }
      };
      for (int which = 0; which < 7; ++which) {
        SCOPED_TRACE(which);
        step(which);
        g = small_numbers<T>(kParameters, 5, 60);
        for (index_t i = 0; !has_gradient && i < kParameters; ++i) g[i] = 0;
        for (int i = 0; i < 2000; ++i) step(which);
        EXPECT_FALSE(meets_small_numbers([&] {
          for (int i = 0; i < 100; ++i) step(which);
        }));
        for (const Array<T>* array : {&p, &states[0], &states[1]}) {
          for (const T value : *array) EXPECT_TRUE(same(value, normal(value)));
        }
      }
    }
  });
}

TEST_P(NearZero, ProductsAreExactDownToTheSmallestNormalNumber) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    constexpr T kLeast = std::numeric_limits<T>::min();
    for (const T factor : {T(0.3), T(0.999), T{0.5}, T{1}, T{3}, T(1e-10), kLeast}) {
      // On both sides of the number whose product is the smallest normal one.
      Array<T> x(64);
      T value = factor < 1 ? kLeast / factor : kLeast;
      for (index_t i = 0; i < 32; ++i) value = std::nextafter(value, T{0});
      for (index_t i = 0; i < x.size(); ++i) {
        x[i] = i % 3 == 0 ? -value : value;
        value = std::nextafter(value, T{1});
      }
      Array<T> y = x;
      kernels.scale(y.data(), y.size(), factor);
      for (index_t i = 0; i < x.size(); ++i) {
        const long double exact = static_cast<long double>(normal(x[i])) * factor;
        const T expected = std::abs(exact) < kLeast ? std::copysign(T{0}, x[i]) : x[i] * factor;
        EXPECT_TRUE(same(expected, y[i])) << std::hexfloat << x[i] << " times " << factor;
      }
    }
    // Of two vectors: zero, or exact; zero for nothing an eighth above the smallest.
    const Array<T> dout = small_numbers<T>(kSize, 1);
    Array<T> y = between<T>(kSize, 2, 0, 1);
    for (index_t i = 0; i < kSize; ++i) y[i] = T{1} - std::ldexp(y[i], -static_cast<int>(i % 20));
    Array<T> dx(kSize);
    kernels.sigmoid_backward(y.data(), dout.data(), dx.data(), kSize);
    index_t zeros = 0;
    for (index_t i = 0; i < kSize; ++i) {
      const T slope = (1 - y[i]) * y[i];
      if (dx[i] == 0) {
        ++zeros;
        EXPECT_LT(std::abs(normal(dout[i]) * slope), T(1.127) * kLeast);
      } else {
        EXPECT_TRUE(same(dout[i] * slope, dx[i]));
      }
    }
    EXPECT_GT(zeros, 10);
    EXPECT_LT(zeros, kSize / 2);
  });
}

}  // namespace
}  // namespace nnext::test
