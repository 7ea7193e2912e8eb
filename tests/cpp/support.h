// What every C++ test uses: numbers to compute with, arrays that notice stray writes, comparisons,
// and one run of a test for each instruction set of this machine.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "dispatch.h"
#include "kernels/table.h"
#include "nnext/threads.h"
#include "nnext/types.h"

namespace nnext::test {

// --- each instruction set, each type ---

// A suite of tests of kernels: its parameter is the table of one instruction set.
class IsaTest : public testing::TestWithParam<const KernelTable*> {};

inline std::string isa_name(const testing::TestParamInfo<const KernelTable*>& info) {
  return info.param->name;
}

#define NNEXT_EVERY_ISA(Suite) \
  INSTANTIATE_TEST_SUITE_P(EveryIsa, Suite, testing::ValuesIn(available_tables()), isa_name)

template <class T>
const Kernels<T>& kernels_of(const KernelTable& table) {
  if constexpr (std::is_same_v<T, float>) {
    return table.f32;
  } else {
    return table.f64;
  }
}

template <class T>
const Kernels<T>& portable_kernels() {
  return kernels_of<T>(*available_tables().back());
}

// Calls check(kernels) with the float and with the double kernels of a table.
template <class Check>
void for_both_types(const KernelTable& table, const Check& check) {
  {
    SCOPED_TRACE("float");
    check(table.f32);
  }
  {
    SCOPED_TRACE("double");
    check(table.f64);
  }
}

// The types of a suite that tests the core's own API, and their names.
using Reals = testing::Types<float, double>;
struct RealNames {
  template <class T>
  static std::string GetName(int) {
    return sizeof(T) == sizeof(float) ? "float" : "double";
  }
};

// Sets the number of threads and puts the old one back.
class ThreadsInUse {
 public:
  explicit ThreadsInUse(int n) : before_(num_threads()) { set_num_threads(n); }
  ThreadsInUse(const ThreadsInUse&) = delete;
  ThreadsInUse& operator=(const ThreadsInUse&) = delete;
  ~ThreadsInUse() { set_num_threads(before_); }

 private:
  int before_;
};

// Sizes on both sides of every edge of a vector of `lanes`, of sums in 16 lanes and of loops that
// take four vectors at a time; 0 and 1 with them.
inline std::vector<index_t> edge_sizes(index_t lanes) {
  std::vector<index_t> sizes = {0, 1, 2, 3};
  for (const index_t edge : {lanes, 2 * lanes, 4 * lanes, index_t{16}, index_t{32}, index_t{64}}) {
    for (index_t n = edge - 1; n <= edge + 1; ++n) sizes.push_back(n);
  }
  std::sort(sizes.begin(), sizes.end());
  sizes.erase(std::unique(sizes.begin(), sizes.end()), sizes.end());
  return sizes;
}

// --- numbers ---

template <class T>
using BitsOf = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;

template <class T>
BitsOf<T> bits_of(T x) {
  return std::bit_cast<BitsOf<T>>(x);
}

template <class T>
constexpr T kInf = std::numeric_limits<T>::infinity();
template <class T>
constexpr T kNan = std::numeric_limits<T>::quiet_NaN();

// The unit roundoff of T: half the distance from 1 to the next number.
template <class T>
constexpr double kUnit = static_cast<double>(std::numeric_limits<T>::epsilon()) / 2;

// A generator of our own (SplitMix64; Steele, Lea, Flood 2014), so that a failure can be seen again
// on any machine.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t bits() {
    std::uint64_t z = state_ += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  index_t below(index_t n) { return static_cast<index_t>(bits() % static_cast<std::uint64_t>(n)); }
  double real(double low, double high) {
    return low + (high - low) * static_cast<double>(bits() >> 11) * 0x1p-53;
  }

 private:
  std::uint64_t state_;
};

// Ways to draw an element.
template <class T>
T whole_number(Random& random) {
  return static_cast<T>(random.below(17) - 8);
}
template <class T>
T real_number(Random& random) {
  return static_cast<T>(random.real(-1, 1));
}
template <class T>
T positive_number(Random& random) {
  return static_cast<T>(random.real(0, 1));
}
// Any bits at all: every exponent, infinities and NaN.
template <class T>
T any_number(Random& random) {
  return std::bit_cast<T>(static_cast<BitsOf<T>>(random.bits()));
}
template <class T>
T special_number(Random& random) {
  using Limits = std::numeric_limits<T>;
  const T numbers[] = {0,
                       T{-0.0},
                       1,
                       -1,
                       T{0.5},
                       T{1.5},
                       -3,
                       Limits::max(),
                       Limits::min(),
                       Limits::denorm_min(),
                       kInf<T>,
                       -kInf<T>,
                       kNan<T>};
  return numbers[random.below(std::ssize(numbers))];
}

// x, a number below the smallest normal T being zero with its sign: what every operation but the
// matrix product makes of its operands and results.
template <class T, class Real>
Real normal(Real x) {
  return std::abs(x) < std::numeric_limits<T>::min() ? std::copysign(Real{0}, x) : x;
}
template <class T>
T normal(T x) {
  return normal<T, T>(x);
}
// The product of two such numbers.
template <class T>
T normal_product(T x, T y) {
  return normal(normal(x) * normal(y));
}

// --- arrays ---

// The NaN that marks memory nobody was asked to write. Arithmetic does not make this one.
template <class T>
T canary() {
  return std::bit_cast<T>(static_cast<BitsOf<T>>(
      sizeof(T) == 4 ? std::uint64_t{0x7fcabcde} : std::uint64_t{0x7ffabcde12345678}));
}

// n elements between two guards; elements and guards are canaries at first. What reads past its
// input meets a NaN there, what writes past its output is found by guards_intact().
template <class T>
class Array {
 public:
  explicit Array(index_t n)
      : size_(n), memory_(static_cast<std::size_t>(n + 2 * kGuard), canary<T>()) {}
  Array(index_t n, std::uint64_t seed, T (*draw)(Random&)) : Array(n) {
    Random random(seed);
    for (index_t i = 0; i < n; ++i) (*this)[i] = draw(random);
  }

  index_t size() const { return size_; }
  T* data() { return memory_.data() + kGuard; }
  const T* data() const { return memory_.data() + kGuard; }
  T& operator[](index_t i) { return data()[i]; }
  const T& operator[](index_t i) const { return data()[i]; }
  const T* begin() const { return data(); }
  const T* end() const { return data() + size_; }

  testing::AssertionResult guards_intact() const {
    for (index_t i = -kGuard; i < size_ + kGuard; ++i) {
      if ((i < 0 || i >= size_) && bits_of(data()[i]) != bits_of(canary<T>())) {
        return testing::AssertionFailure() << "element " << i << " was written, of " << size_;
      }
    }
    return testing::AssertionSuccess();
  }

 private:
  static constexpr index_t kGuard = 64;  // above the widest register tile's overhang
  index_t size_;
  std::vector<T> memory_;
};

// --- comparisons ---

// Equal bit by bit; a NaN equals any NaN.
template <class T>
bool same(T a, T b) {
  return (std::isnan(a) && std::isnan(b)) || bits_of(a) == bits_of(b);
}

// `actual` holds the bits of `expected`, and nothing around it was written.
template <class T>
testing::AssertionResult same_bits(const Array<T>& expected, const Array<T>& actual) {
  if (expected.size() != actual.size()) {
    return testing::AssertionFailure() << "sizes " << expected.size() << ", " << actual.size();
  }
  for (index_t i = 0; i < expected.size(); ++i) {
    if (same(expected[i], actual[i])) continue;
    return testing::AssertionFailure()
           << std::hexfloat << "element " << i << " of " << expected.size() << ": expected "
           << expected[i] << ", got " << actual[i];
  }
  return actual.guards_intact();
}

// |actual[i] - exact(i)| <= bound(i) for every element, and nothing around them was written.
template <class T, class Exact, class Bound>
testing::AssertionResult within(const Array<T>& actual, const Exact& exact, const Bound& bound) {
  for (index_t i = 0; i < actual.size(); ++i) {
    const auto error = std::abs(static_cast<long double>(actual[i]) - exact(i));
    if (error <= bound(i)) continue;  // so written, NaN fails
    return testing::AssertionFailure()
           << "element " << i << " of " << actual.size() << ": " << actual[i] << " is off from "
           << exact(i) << " by " << error << ", more than " << bound(i);
  }
  return actual.guards_intact();
}

// How far y is from the exact value, in units of the last place of T there. Both NaN: 0.
template <class T, class Exact>
double ulps(T y, Exact exact) {
  using Limits = std::numeric_limits<T>;
  if (static_cast<T>(exact) == y || (std::isnan(y) && std::isnan(exact))) return 0;
  if (std::isnan(y) || !std::isfinite(exact)) return kInf<double>;
  // infinity counts as the number after the largest
  const Exact value = std::isinf(y) ? std::copysign(std::ldexp(Exact{1}, Limits::max_exponent),
                                                    static_cast<Exact>(y))
                                    : static_cast<Exact>(y);
  const int exponent =
      exact == 0 ? Limits::min_exponent - 1 : std::max(std::ilogb(exact), Limits::min_exponent - 1);
  return static_cast<double>(std::ldexp(std::abs(value - exact), Limits::digits - 1 - exponent));
}

}  // namespace nnext::test
