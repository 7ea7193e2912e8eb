// exp, log, sigmoid and tanh against a higher precision, over the float32 numbers there are and a
// large sample of float64. Run for the best instruction set; elementwise_test.cpp shows that all
// give the same bits. NNEXT_TEST_EVERY_FLOAT=1 takes every float32, which takes minutes.
#include <cstdlib>
#include <cstring>

#include "support.h"

namespace nnext::test {
namespace {

constexpr index_t kBlock = 4096;

struct Worst {
  double ulps = 0;
  double x = 0;

  template <class T, class Exact>
  void add(T argument, T y, Exact exact) {
    const double error = test::ulps(y, exact);
    if (error > ulps) {
      ulps = error;
      x = static_cast<double>(argument);
    }
  }
};

// The largest error over every 61st bit pattern (a prime: all mantissas get their turn).
template <class Exact>
Worst sweep(void (*kernel)(const float*, float*, index_t), const Exact& exact) {
  const char* every = std::getenv("NNEXT_TEST_EVERY_FLOAT");
  const std::uint64_t stride = every != nullptr && std::strcmp(every, "1") == 0 ? 1 : 61;
  Worst worst;
  float x[kBlock];
  float y[kBlock];
  for (std::uint64_t pattern = 0; pattern < std::uint64_t{1} << 32;) {
    index_t n = 0;
    for (; n < kBlock && pattern < std::uint64_t{1} << 32; ++n, pattern += stride) {
      x[n] = std::bit_cast<float>(static_cast<std::uint32_t>(pattern));
    }
    kernel(x, y, n);
    for (index_t i = 0; i < n; ++i) worst.add(x[i], y[i], exact(static_cast<double>(x[i])));
  }
  return worst;
}

// The largest error over a million arguments: half drawn from [low, high], half any bits.
template <class Exact>
Worst sample(void (*kernel)(const double*, double*, index_t), double low, double high,
             const Exact& exact) {
  constexpr int kBlocks = (1 << 20) / kBlock;
  Random random(1);
  Worst worst;
  double x[kBlock];
  double y[kBlock];
  for (int block = 0; block < kBlocks; ++block) {
    for (double& value : x) {
      value = block % 2 == 0 ? random.real(low, high) : any_number<double>(random);
    }
    kernel(x, y, kBlock);
    for (index_t i = 0; i < kBlock; ++i) {
      worst.add(x[i], y[i], exact(static_cast<long double>(x[i])));
    }
  }
  return worst;
}

const KernelTable& best() { return *available_tables().front(); }

double exact_sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
long double exact_sigmoid(long double x) { return 1 / (1 + std::exp(-x)); }

TEST(AccuracyFloat, ExpIsWithinOneUlp) {
  const Worst worst = sweep(best().f32.exp, [](double x) { return std::exp(x); });
  EXPECT_LE(worst.ulps, 1) << "at " << worst.x;
}
TEST(AccuracyFloat, LogIsWithinOneUlp) {
  const Worst worst = sweep(best().f32.log, [](double x) { return std::log(x); });
  EXPECT_LE(worst.ulps, 1) << "at " << worst.x;
}
TEST(AccuracyFloat, SigmoidIsWithinTwoUlps) {
  const Worst worst = sweep(best().f32.sigmoid, [](double x) { return exact_sigmoid(x); });
  EXPECT_LE(worst.ulps, 2) << "at " << worst.x;
}
TEST(AccuracyFloat, TanhIsWithinTwoUlps) {
  const Worst worst = sweep(best().f32.tanh, [](double x) { return std::tanh(x); });
  EXPECT_LE(worst.ulps, 2) << "at " << worst.x;
}

// Where long double is no wider than double there is nothing to compare with.
class AccuracyDouble : public testing::Test {
 protected:
  void SetUp() override {
    if (std::numeric_limits<long double>::digits < 64) GTEST_SKIP() << "long double is double";
  }
};

TEST_F(AccuracyDouble, ExpIsWithinOneUlp) {
  for (const double range : {1e-3, 1.0, 30.0, 746.0}) {
    const Worst worst =
        sample(best().f64.exp, -range, range, [](long double x) { return std::exp(x); });
    EXPECT_LE(worst.ulps, 1) << "at " << worst.x;
  }
}
TEST_F(AccuracyDouble, LogIsWithinOneUlp) {
  for (const double range : {1.001, 2.0, 1e3}) {
    const Worst worst =
        sample(best().f64.log, 1 / range, range, [](long double x) { return std::log(x); });
    EXPECT_LE(worst.ulps, 1) << "at " << worst.x;
  }
}
TEST_F(AccuracyDouble, SigmoidIsWithinTwoUlps) {
  for (const double range : {1.0, 40.0, 746.0}) {
    const Worst worst =
        sample(best().f64.sigmoid, -range, range, [](long double x) { return exact_sigmoid(x); });
    EXPECT_LE(worst.ulps, 2) << "at " << worst.x;
  }
}
TEST_F(AccuracyDouble, TanhIsWithinTwoUlps) {
  for (const double range : {0.01, 1.0, 20.0}) {
    const Worst worst =
        sample(best().f64.tanh, -range, range, [](long double x) { return std::tanh(x); });
    EXPECT_LE(worst.ulps, 2) << "at " << worst.x;
  }
}

// Where e^2x - 1 loses the most digits; found among 3.6e8 draws as the arguments at which leaving
// out the rounding error of the reduced argument costs more than 2 ULP.
TEST_F(AccuracyDouble, TanhIsWithinTwoUlpsAtItsWorst) {
  const double x[] = {0x1.73c3d401b53eep-3, 0x1.72e980d0edc85p-3};
  double y[2];
  best().f64.tanh(x, y, 2);
  Worst worst;
  for (int i = 0; i < 2; ++i) worst.add(x[i], y[i], std::tanh(static_cast<long double>(x[i])));
  EXPECT_LE(worst.ulps, 2) << "at " << worst.x;
}

TEST(AccuracyHelpers, SweepAndSampleFindAWrongFunction) {
  const auto shifted = [](const double* x, double* y, index_t n) {
    for (index_t i = 0; i < n; ++i) y[i] = std::exp(x[i]) * (1 + 0x1p-50);
  };
  const Worst worst = sample(shifted, -1, 1, [](long double x) { return std::exp(x); });
  EXPECT_GT(worst.ulps, 1);
}

}  // namespace
}  // namespace nnext::test
