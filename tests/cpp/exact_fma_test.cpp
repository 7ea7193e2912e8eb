// The fma in integers, which the portable kernels take on Windows, against that of the C library.
#include "exact_fma.h"

#include <cmath>

#include "support.h"

namespace nnext::test {
namespace {

template <class T>
class ExactFma : public testing::Test {
 protected:
  static void expect_right(T a, T b, T c) {
    const T found = exact_fma(a, b, c);
    const T expected = std::fma(a, b, c);
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(found)) << a << " * " << b << " + " << c;
    } else {
      EXPECT_TRUE(found == expected && std::signbit(found) == std::signbit(expected))
          << a << " * " << b << " + " << c << ": " << found << ", expected " << expected;
    }
  }
};
TYPED_TEST_SUITE(ExactFma, Reals, RealNames);

TYPED_TEST(ExactFma, OfSpecialNumbers) {
  using T = TypeParam;
  using Limits = std::numeric_limits<T>;
  const T magnitudes[] = {0, Limits::denorm_min(), Limits::min(),      Limits::epsilon(),  1,
                          3, Limits::max(),        Limits::infinity(), Limits::quiet_NaN()};
  std::vector<T> numbers;
  for (const T x : magnitudes) numbers.insert(numbers.end(), {x, -x});
  for (const T a : numbers) {
    for (const T b : numbers) {
      for (const T c : numbers) this->expect_right(a, b, c);
    }
  }
}

// Terms of every size beside the product, few and many digits, subnormal and overflowing results.
TYPED_TEST(ExactFma, OfManyNumbers) {
  using T = TypeParam;
  constexpr int kDigits = std::numeric_limits<T>::digits;
  constexpr int kLeast = std::numeric_limits<T>::min_exponent - kDigits;
  Random random(1);
  const auto below = [&](int n) { return static_cast<int>(random.below(n)); };
  const auto number = [&](int exponent) {
    const int digits = 1 + below(kDigits);
    const T mantissa = std::nearbyint(std::ldexp(static_cast<T>(random.real(-1, 1)), digits));
    return std::ldexp(mantissa, exponent - digits);
  };
  for (int i = 0; i < 100000; ++i) {
    const int far = below(2 * kDigits + 20) - kDigits - 10;
    const T a = number(below(9));
    const T b = number(below(9));
    this->expect_right(a, b, number(far));
    this->expect_right(a, b, std::ldexp(T{1}, far));
    this->expect_right(a, b, -a * b);
    this->expect_right(a, std::ldexp(b, kLeast + below(30)), number(kLeast + below(30)));
    this->expect_right(a, std::ldexp(b, kLeast + below(30)), 0);
    constexpr int kMost = std::numeric_limits<T>::max_exponent;
    this->expect_right(a, std::ldexp(number(0), kMost - below(9)), number(kMost));
  }
}

}  // namespace
}  // namespace nnext::test
