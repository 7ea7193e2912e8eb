// exp, log, sigmoid and tanh against a higher precision, over the float32 numbers there are and a
// large sample of float64 (zero where that is not normal, but for log); and that they never fall
// from one number to the next. Run for the best instruction set; elementwise_test.cpp shows that
// all give the same bits. NNEXT_TEST_EVERY_FLOAT=1 takes every float32, which takes minutes.
#include <cstdlib>
#include <cstring>

#include "support.h"

namespace nnext::test {
namespace {

constexpr index_t kBlock = 4096;

bool every_float() {
  const char* every = std::getenv("NNEXT_TEST_EVERY_FLOAT");
  return every != nullptr && std::strcmp(every, "1") == 0;
}

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
  const std::uint64_t stride = every_float() ? 1 : 61;
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

// How often y falls from one x to the next larger one.
template <class T>
index_t falls(const T* y, index_t n) {
  index_t count = 0;
  for (index_t i = 1; i < n; ++i) count += y[i] < y[i - 1] ? 1 : 0;
  return count;
}

// The same over `count` neighbouring numbers from `first` on.
template <class T>
index_t falls_from(void (*kernel)(const T*, T*, index_t), T first, index_t count) {
  T x[kBlock];
  T y[kBlock];
  index_t found = 0;
  T next = first;
  for (index_t done = 0; done < count - 1; done += kBlock - 1) {  // blocks share a number
    const index_t n = std::min(kBlock, count - done);
    x[0] = next;
    for (index_t i = 1; i < n; ++i) x[i] = std::nextafter(x[i - 1], std::numeric_limits<T>::max());
    next = x[n - 1];
    kernel(x, y, n);
    found += falls(y, n);
  }
  return found;
}

// The same over the finite float32 numbers of [low, high], or a block of them in 61.
index_t falls_between(void (*kernel)(const float*, float*, index_t), float low, float high) {
  const index_t skipped = every_float() ? 1 : 61;
  // In the order of the numbers: the bits of the negative ones count down.
  const auto place = [](float x) {
    const auto bits = std::bit_cast<std::int32_t>(x);
    return bits < 0 ? std::int64_t{std::numeric_limits<std::int32_t>::min()} - bits : bits;
  };
  const auto number = [](std::int64_t at) {
    return std::bit_cast<float>(static_cast<std::int32_t>(
        at < 0 ? std::int64_t{std::numeric_limits<std::int32_t>::min()} - at : at));
  };
  index_t found = 0;
  for (std::int64_t at = place(low); at < place(high); at += skipped * (kBlock - 1)) {
    found += falls_from(kernel, number(at), std::min<index_t>(kBlock, place(high) - at + 1));
  }
  return found;
}

// The same over 2000 blocks of neighbours of [low, high].
index_t falls_sampled(void (*kernel)(const double*, double*, index_t), double low, double high) {
  Random random(1);
  index_t found = 0;
  for (int i = 0; i < 2000; ++i) found += falls_from(kernel, random.real(low, high), kBlock);
  return found;
}

const KernelTable& best() { return *available_tables().front(); }

// What float32 (from a double) and float64 (from a long double) are compared with.
template <class Wide>
using Narrow = std::conditional_t<std::is_same_v<Wide, double>, float, double>;
template <class Wide>
Wide exact_exp(Wide x) {
  return normal<Narrow<Wide>>(std::exp(x));
}
template <class Wide>
Wide exact_sigmoid(Wide x) {
  return normal<Narrow<Wide>>(1 / (1 + std::exp(-x)));
}
template <class Wide>
Wide exact_tanh(Wide x) {
  return normal<Narrow<Wide>>(std::tanh(x));
}

TEST(AccuracyFloat, ExpIsWithinOneUlp) {
  const Worst worst = sweep(best().f32.exp, &exact_exp<double>);
  EXPECT_LE(worst.ulps, 1) << "at " << worst.x;
}
TEST(AccuracyFloat, LogIsWithinOneUlp) {
  const Worst worst = sweep(best().f32.log, [](double x) { return std::log(x); });
  EXPECT_LE(worst.ulps, 1) << "at " << worst.x;
}
TEST(AccuracyFloat, SigmoidIsWithinTwoUlps) {
  const Worst worst = sweep(best().f32.sigmoid, &exact_sigmoid<double>);
  EXPECT_LE(worst.ulps, 2) << "at " << worst.x;
}
TEST(AccuracyFloat, TanhIsWithinOneAndAQuarterUlps) {
  const Worst worst = sweep(best().f32.tanh, &exact_tanh<double>);
  EXPECT_LE(worst.ulps, 1.25) << "at " << worst.x;
}

// NumPy 2.4.6 does not fall here either, and once among all positive numbers.
TEST(MonotoneFloat, TanhNeverFallsNearOne) {
  EXPECT_EQ(falls_from(best().f32.tanh, 0.9F, 4000001), 0);
}
TEST(MonotoneFloat, NothingFallsAnywhere) {
  constexpr float kMost = std::numeric_limits<float>::max();
  EXPECT_EQ(falls_between(best().f32.tanh, -kMost, kMost), 0);
  EXPECT_EQ(falls_between(best().f32.sigmoid, -kMost, kMost), 0);
  EXPECT_EQ(falls_between(best().f32.exp, -kMost, kMost), 0);
  EXPECT_EQ(falls_between(best().f32.log, 0, kMost), 0);
}
TEST(MonotoneDouble, NothingFallsInSamples) {
  for (const double range : {1e-3, 0.5, 1.0, 4.0, 20.0}) {
    EXPECT_EQ(falls_sampled(best().f64.tanh, -range, range), 0) << range;
    EXPECT_EQ(falls_sampled(best().f64.sigmoid, -range, range), 0) << range;
    EXPECT_EQ(falls_sampled(best().f64.exp, -range, range), 0) << range;
    EXPECT_EQ(falls_sampled(best().f64.log, 0, range), 0) << range;
  }
  // Where tanh changes from one formula to the other.
  EXPECT_EQ(falls_from(best().f64.tanh, 0.625 - 0x1p-42, 20000), 0);
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
    const Worst worst = sample(best().f64.exp, -range, range, &exact_exp<long double>);
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
    const Worst worst = sample(best().f64.sigmoid, -range, range, &exact_sigmoid<long double>);
    EXPECT_LE(worst.ulps, 2) << "at " << worst.x;
  }
}
TEST_F(AccuracyDouble, TanhIsWithinOneAndAHalfUlps) {
  const auto exact = &exact_tanh<long double>;
  for (const double range : {0.01, 1.0, 20.0}) {
    const Worst worst = sample(best().f64.tanh, -range, range, exact);
    EXPECT_LE(worst.ulps, 1.5) << "at " << worst.x;
  }
  // The worst is where 1 - 2 / (e^2x + 1) begins.
  const Worst worst = sample(best().f64.tanh, 0.625, 0.66, exact);
  EXPECT_LE(worst.ulps, 1.5) << "at " << worst.x;
}

TEST(AccuracyHelpers, SweepAndSampleFindAWrongFunction) {
  const auto shifted = [](const double* x, double* y, index_t n) {
    for (index_t i = 0; i < n; ++i) y[i] = std::exp(x[i]) * (1 + 0x1p-50);
  };
  const Worst worst = sample(shifted, -1, 1, [](long double x) { return std::exp(x); });
  EXPECT_GT(worst.ulps, 1);
}

TEST(AccuracyHelpers, FallsAreCountedInEveryBlockAndBetweenBlocks) {
  const auto saw = [](const float* x, float* y, index_t n) {
    for (index_t i = 0; i < n; ++i) y[i] = x[i] - 2 * std::floor(x[i] * 0x1p14F) * 0x1p-14F;
  };
  EXPECT_EQ(falls_from<float>(saw, 1.0F, (index_t{1} << 23) + 1), index_t{1} << 14);
  EXPECT_EQ(falls_from<float>(saw, 1.0F, 1), 0);
  const auto down = [](const float* x, float* y, index_t n) {
    for (index_t i = 0; i < n; ++i) y[i] = -x[i];
  };
  EXPECT_EQ(falls_from<float>(down, -1.0F, 10001), 10000);
  EXPECT_EQ(falls_between(down, -0x1p-147F, 0x1p-147F), 8);
}

}  // namespace
}  // namespace nnext::test
