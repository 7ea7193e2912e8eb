// What the tests of numbers near zero share: the processor's flags, and the numbers to try.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "support.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace nnext::test {

// Whether any vector operation since `clear` met a number below the smallest normal one (the
// denormal flag) or should have made one (the underflow flag). Never, where there are no flags.
class SmallNumbers {
 public:
  static void clear() {
#if defined(__x86_64__)
    _mm_setcsr(_mm_getcsr() & ~kFlags);
#endif
  }
  static bool met() {
#if defined(__x86_64__)
    return (_mm_getcsr() & kFlags) != 0;
#else
    return false;
#endif
  }

 private:
  static constexpr unsigned kFlags = 0x12;
};

template <class Compute>
bool meets_small_numbers(const Compute& compute) {
  SmallNumbers::clear();
  compute();
  return SmallNumbers::met();
}

// Every size of number there is, subnormal ones, zeros, infinities and NaN among them.
template <class T>
Array<T> any_numbers(index_t n, std::uint64_t seed) {
  return {n, seed, &any_number<T>};
}
template <class T>
Array<T> between(index_t n, std::uint64_t seed, double low, double high) {
  Random random(seed);
  Array<T> x(n);
  for (index_t i = 0; i < n; ++i) x[i] = static_cast<T>(random.real(low, high));
  return x;
}
// Numbers of either sign that are smaller than 1 by up to so many powers of two; subnormal ones
// among them if no number is given.
template <class T>
Array<T> small_numbers(index_t n, std::uint64_t seed,
                       index_t powers = 40 - std::numeric_limits<T>::min_exponent) {
  Random random(seed);
  Array<T> x(n);
  for (index_t i = 0; i < n; ++i) {
    x[i] = std::ldexp(static_cast<T>(random.real(-1, 1)), static_cast<int>(-random.below(powers)));
  }
  return x;
}

}  // namespace nnext::test
