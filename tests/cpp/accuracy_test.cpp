// exp, log, sigmoid, tanh, SiLU and GELU against a higher precision, over the float32 numbers there
// are and a large sample of float64 (zero where that is not normal, but for log); and that they
// never fall from one number to the next. Run for the best instruction set; elementwise_test.cpp
// shows that all give the same bits. NNEXT_TEST_EVERY_FLOAT=1 takes every float32, which takes
// minutes.
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

template <class Wide>
Wide exact_silu(Wide x) {
  return std::isinf(x) ? std::max(x, Wide{0}) : normal<Narrow<Wide>>(x / (1 + std::exp(-x)));
}
template <class Wide>
Wide exact_silu_slope(Wide x) {
  const Wide s = 1 / (1 + std::exp(-x));
  return std::isinf(x) ? s : normal<Narrow<Wide>>(s * (1 + x / (1 + std::exp(x))));
}
// Phi(x). The rounding of x / sqrt(2), by which erfc moves far out, is taken back.
template <class Wide>
Wide exact_phi(Wide x) {
  const Wide root = std::sqrt(Wide{0.5});
  const Wide root_rest = std::fma(-root, root, Wide{0.5}) / (2 * root);
  const Wide z = -x * root;
  const Wide rest = std::fma(-x, root, -z) - x * root_rest;
  const Wide slope = std::exp(-z * z) * 2 / std::sqrt(std::acos(Wide{-1}));
  return (std::erfc(z) - slope * rest) / 2;
}
template <class Wide>
Wide exact_density(Wide x) {
  return std::exp(-x * x / 2) / std::sqrt(2 * std::acos(Wide{-1}));
}
template <class Wide>
Wide exact_gelu(Wide x) {
  return std::isinf(x) ? std::max(x, Wide{0}) : normal<Narrow<Wide>>(x * exact_phi(x));
}
template <class Wide>
Wide exact_gelu_slope(Wide x) {
  return std::isinf(x) ? exact_sigmoid(x)
                       : normal<Narrow<Wide>>(exact_phi(x) + x * exact_density(x));
}
// Twice what the tanh is taken of, and its slope times x.
template <class Wide>
Wide tanh_argument(Wide x) {
  return std::sqrt(8 / std::acos(Wide{-1})) * x * (1 + Wide{44715} / 1000000 * x * x);
}
template <class Wide>
Wide exact_gelu_tanh(Wide x) {
  return std::isinf(x) ? std::max(x, Wide{0})
                       : normal<Narrow<Wide>>(x / (1 + std::exp(-tanh_argument(x))));
}
template <class Wide>
Wide exact_gelu_tanh_slope(Wide x) {
  const Wide v = tanh_argument(x);
  const Wide z = 3 * v - 2 * std::sqrt(8 / std::acos(Wide{-1})) * x;
  const Wide s = 1 / (1 + std::exp(-v));
  return std::isinf(x) ? s : normal<Narrow<Wide>>(s * (1 + z / (1 + std::exp(v))));
}

// The gradient for a dout of 1.
template <class T, void (*Kernels<T>::*Backward)(const T*, const T*, T*, index_t)>
void slope(const T* x, T* y, index_t n) {
  T ones[kBlock];
  std::fill_n(ones, kBlock, T{1});
  (kernels_of<T>(best()).*Backward)(x, ones, y, n);
}

// The largest error of a slope over 4 million numbers of [low, high], relative to the slope or,
// where that is less, to `floor`: slopes have a zero, near which they are a difference.
template <class T, class Exact>
double slope_error(void (*kernel)(const T*, T*, index_t), double low, double high, double floor,
                   const Exact& exact) {
  using Wide = std::conditional_t<std::is_same_v<T, float>, double, long double>;
  Random random(1);
  double worst = 0;
  T x[kBlock];
  T y[kBlock];
  for (int block = 0; block < 1024; ++block) {
    for (T& value : x) value = static_cast<T>(random.real(low, high));
    kernel(x, y, kBlock);
    for (index_t i = 0; i < kBlock; ++i) {
      const Wide expected = exact(static_cast<Wide>(x[i]));
      const Wide scale = std::max(std::abs(expected), static_cast<Wide>(floor));
      const Wide error = std::abs(static_cast<Wide>(y[i]) - expected);
      if (error > 0) worst = std::max(worst, static_cast<double>(error / scale));
    }
  }
  return worst / kUnit<T>;
}

TEST(AccuracyFloat, SiluIsWithinTwoUlps) {
  const Worst worst = sweep(best().f32.silu, &exact_silu<double>);
  EXPECT_LE(worst.ulps, 2) << "at " << worst.x;
}
TEST(AccuracyFloat, GeluIsWithinTwoUlps) {
  const Worst worst = sweep(best().f32.gelu, &exact_gelu<double>);
  EXPECT_LE(worst.ulps, 2) << "at " << worst.x;
}
TEST(AccuracyFloat, GeluByTanhIsWithinTwoUlps) {
  const Worst worst = sweep(best().f32.gelu_tanh, &exact_gelu_tanh<double>);
  EXPECT_LE(worst.ulps, 2) << "at " << worst.x;
}
// Within 8 units of roundoff of themselves, around their zero 12 of a tenth at least.
template <class T, class Exact>
void expect_slope(void (*kernel)(const T*, T*, index_t), double lowest, const Exact& exact) {
  EXPECT_LE(slope_error<T>(kernel, lowest, -2, 0, exact), 8);
  EXPECT_LE(slope_error<T>(kernel, -2, 0, 0.1, exact), 12);
  EXPECT_LE(slope_error<T>(kernel, 0, -lowest, 0, exact), 8);
}
TEST(AccuracyFloat, SlopesAreWithinTheirBounds) {
  expect_slope<float>(&slope<float, &Kernels<float>::silu_backward>, -93,
                      &exact_silu_slope<double>);
  expect_slope<float>(&slope<float, &Kernels<float>::gelu_backward>, -13.5,
                      &exact_gelu_slope<double>);
  expect_slope<float>(&slope<float, &Kernels<float>::gelu_tanh_backward>, -10.5,
                      &exact_gelu_tanh_slope<double>);
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

TEST_F(AccuracyDouble, SiluIsWithinTwoUlps) {
  for (const double range : {0.01, 3.0, 60.0, 720.0}) {
    const Worst worst = sample(best().f64.silu, -range, range, &exact_silu<long double>);
    EXPECT_LE(worst.ulps, 2) << "at " << worst.x;
  }
}
TEST_F(AccuracyDouble, GeluIsWithinTwoUlps) {
  for (const double range : {0.01, 1.0, 3.0, 9.0, 39.0}) {
    const Worst worst = sample(best().f64.gelu, -range, range, &exact_gelu<long double>);
    EXPECT_LE(worst.ulps, 2) << "at " << worst.x;
  }
}
// The rounding of the exponent costs the long double a unit of the double's far below 0.
TEST_F(AccuracyDouble, GeluByTanhIsWithinTwoUlps) {
  for (const double range : {0.01, 1.0, 3.0, 8.0, 22.0}) {
    const Worst worst = sample(best().f64.gelu_tanh, -range, range, &exact_gelu_tanh<long double>);
    EXPECT_LE(worst.ulps, range > 8 ? 3 : 2) << "at " << worst.x;
  }
}
TEST_F(AccuracyDouble, SlopesAreWithinTheirBounds) {
  expect_slope<double>(&slope<double, &Kernels<double>::silu_backward>, -716,
                       &exact_silu_slope<long double>);
  expect_slope<double>(&slope<double, &Kernels<double>::gelu_backward>, -39,
                       &exact_gelu_slope<long double>);
  expect_slope<double>(&slope<double, &Kernels<double>::gelu_tanh_backward>, -22,
                       &exact_gelu_tanh_slope<long double>);
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
