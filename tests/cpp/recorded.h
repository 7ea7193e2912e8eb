// The hashes of tests/same_bits.txt: what every machine computes from the same numbers.
// tests/python/same_bits.py draws and hashes in the same way, and writes the file.
#pragma once

#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "support.h"

namespace nnext::test {

// Element i of stream `seed`: uniform in [-1, 1) with every digit of T in use. Nothing here rounds.
template <class T>
T drawn(std::uint64_t seed, index_t i) {
  constexpr int kDigits = std::numeric_limits<T>::digits;
  constexpr T kHalf = static_cast<T>(std::int64_t{1} << (kDigits - 1));
  Random random(seed * 1'000'000'007 + static_cast<std::uint64_t>(i));
  return static_cast<T>(static_cast<std::int64_t>(random.bits() >> (64 - kDigits))) / kHalf - 1;
}

template <class T>
Array<T> drawn_array(index_t n, std::uint64_t seed, T scale = 1, T shift = 0) {
  Array<T> x(n);
  for (index_t i = 0; i < n; ++i) x[i] = drawn<T>(seed, i) * scale + shift;
  return x;
}

// Mixes the bits of each element with its place and sums up: a changed, moved or missing one shows.
class Hash {
 public:
  template <class T>
  void add(T x) {
    const std::uint64_t place = Random(++elements_).bits();
    sum_ += Random(place ^ std::uint64_t{bits_of(x)}).bits();
  }
  template <class T>
  void add(const Array<T>& array) {
    for (const T x : array) add(x);
  }
  std::string text() const {
    std::ostringstream digits;
    digits << std::hex << sum_;
    return std::string(16 - digits.str().size(), '0') + digits.str();
  }

 private:
  std::uint64_t elements_ = 0;
  std::uint64_t sum_ = 0;
};

// The hash recorded under a name, or why there is none.
inline std::string recorded(const std::string& name) {
  static const std::map<std::string, std::string> hashes = [] {
    std::map<std::string, std::string> read;
    std::ifstream file(NNEXT_SAME_BITS_FILE);
    for (std::string line; std::getline(file, line);) {
      const std::size_t space = line.find(' ');
      if (line.starts_with('#') || space == std::string::npos) continue;
      read[line.substr(space + 1)] = line.substr(0, space);
    }
    return read;
  }();
  const auto found = hashes.find(name);
  return found != hashes.end() ? found->second : "nothing in " NNEXT_SAME_BITS_FILE;
}

}  // namespace nnext::test
