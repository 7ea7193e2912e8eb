// a * b + c with one rounding; see exact_fma.h.
#include "exact_fma.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

namespace nnext {
namespace {

__extension__ using Wide = unsigned __int128;

constexpr int kDigits = 53;
constexpr int kLeastExponent = -1074;

// A finite number other than 0: mantissa * 2^exponent, the mantissa from 2^52 to below 2^53.
struct Parts {
  std::uint64_t mantissa;
  int exponent;
  bool negative;
};

Parts parts_of(double x) {
  const auto bits = std::bit_cast<std::uint64_t>(x);
  const bool negative = bits >> 63 != 0;
  const std::uint64_t fraction = bits & ((std::uint64_t{1} << 52) - 1);
  const int biased = static_cast<int>(bits >> 52 & 0x7ff);
  if (biased != 0) return {fraction | std::uint64_t{1} << 52, biased - 1075, negative};
  const int shift = std::countl_zero(fraction) - 11;
  return {fraction << shift, kLeastExponent - shift, negative};
}

int length_of(Wide x) {
  const auto high = static_cast<std::uint64_t>(x >> 64);
  return high != 0 ? 128 - std::countl_zero(high)
                   : 64 - std::countl_zero(static_cast<std::uint64_t>(x));
}

// x / 2^shift, the last bit set if any that was cut off was.
Wide shifted_right(Wide x, int shift) {
  if (shift >= 128) return x != 0 ? 1 : 0;
  const Wide kept = x >> shift;
  return kept | static_cast<Wide>(kept << shift != x ? 1 : 0);
}

// x * 2^exponent, x not 0, to the nearest number, to the even one of two.
double rounded(Wide x, int exponent) {
  const int last = std::max(exponent + length_of(x) - kDigits, kLeastExponent);
  const int shift = last - exponent;
  // Two bits more than the mantissa has: a half, and whether there is more.
  const Wide quarters = shift >= 2 ? shifted_right(x, shift - 2) : x << (2 - shift);
  auto mantissa = static_cast<std::uint64_t>(quarters >> 2);
  const auto rest = static_cast<int>(quarters & 3);
  if (rest == 3 || (rest == 2 && mantissa % 2 != 0)) ++mantissa;
  return std::ldexp(static_cast<double>(mantissa), last);
}

}  // namespace

double exact_fma(double a, double b, double c) noexcept {
  if (!std::isfinite(a) || !std::isfinite(b)) return a * b + c;
  if (!std::isfinite(c)) return c + c;
  if (a == 0 || b == 0) return a * b + c;
  if (c == 0) return a * b;
  const Parts pa = parts_of(a);
  const Parts pb = parts_of(b);
  const Parts pc = parts_of(c);
  // Both with the leading bit among the highest but two, so that their sum fits.
  constexpr int kShiftOfProduct = 20;
  constexpr int kShiftOfTerm = 73;
  Wide product = Wide{pa.mantissa} * pb.mantissa << kShiftOfProduct;
  Wide term = Wide{pc.mantissa} << kShiftOfTerm;
  const int product_exponent = pa.exponent + pb.exponent - kShiftOfProduct;
  const int term_exponent = pc.exponent - kShiftOfTerm;
  const int exponent = std::max(product_exponent, term_exponent);
  product = shifted_right(product, exponent - product_exponent);
  term = shifted_right(term, exponent - term_exponent);
  const bool negative = pa.negative != pb.negative;
  if (negative == pc.negative) {
    const double sum = rounded(product + term, exponent);
    return negative ? -sum : sum;
  }
  if (product == term) return 0;
  const double difference =
      product > term ? rounded(product - term, exponent) : rounded(term - product, exponent);
  return negative == (product > term) ? -difference : difference;
}

// The product of two floats is exact as a double. Where the sum is not, it is made odd: no double
// of more digits than a float's and two then lies halfway between two floats without being there.
float exact_fma(float a, float b, float c) noexcept {
  const double product = static_cast<double>(a) * static_cast<double>(b);
  const auto term = static_cast<double>(c);
  double sum = product + term;
  if (!std::isfinite(sum)) return static_cast<float>(sum);
  const double of_product = sum - term;
  const double error = (product - of_product) + (term - (sum - of_product));
  const auto bits = std::bit_cast<std::uint64_t>(sum);
  if (error != 0 && bits % 2 == 0) {
    // Away from 0 if the error has the sign of the sum.
    sum = std::bit_cast<double>((error > 0) == (sum > 0) ? bits + 1 : bits - 1);
  }
  return static_cast<float>(sum);
}

}  // namespace nnext
