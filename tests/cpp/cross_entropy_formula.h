// Cross entropy with its options, by its formula in long double.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "nnext/cross_entropy.h"
#include "nnext/types.h"

namespace nnext::test {

// A row by its formula, q the probabilities that its classes should have.
template <class T>
struct Exact {
  std::vector<long double> gradient;
  std::vector<long double> probability;
  long double loss = 0;

  Exact(const T* x, index_t cols, const T* q, const LossTerms<T>& terms, long double factor) {
    std::vector<long double> z(x, x + cols);
    const long double cap = terms.softcap;
    if (cap != 0) {
      for (long double& v : z) v = cap * std::tanh(v / cap);
    }
    const long double most = *std::max_element(z.begin(), z.end());
    long double sum = 0;
    for (const long double v : z) sum += std::exp(v - most);
    const long double lse = most + std::log(sum);
    const auto w = [&](index_t c) {
      return terms.class_weight != nullptr ? static_cast<long double>(terms.class_weight[c]) : 1.0L;
    };
    long double weight_sum = 0;
    long double spread = 0;
    long double target_weight = 0;
    long double target = 0;
    for (index_t c = 0; c < cols; ++c) {
      const long double distance = lse - z[static_cast<std::size_t>(c)];
      weight_sum += w(c);
      spread += w(c) * distance;
      target_weight += w(c) * q[c];
      target += w(c) * q[c] * distance;
    }
    const long double eps = terms.smoothing;
    const long double share = eps / static_cast<long double>(cols);
    const long double z_loss = terms.z_loss;
    loss = (1 - eps) * target + share * spread + z_loss * lse * lse;
    for (index_t c = 0; c < cols; ++c) {
      const long double v = z[static_cast<std::size_t>(c)];
      const long double p = std::exp(v - lse);
      probability.push_back(p);
      long double g = (1 - eps) * (target_weight * p - w(c) * q[c]) +
                      share * (weight_sum * p - w(c)) + 2 * z_loss * lse * p;
      if (cap != 0) g *= 1 - (v / cap) * (v / cap);
      gradient.push_back(factor * g);
    }
  }
};

template <class T>
std::vector<T> one_hot(index_t cols, std::int64_t t) {
  std::vector<T> q(static_cast<std::size_t>(cols));
  q[static_cast<std::size_t>(t)] = 1;
  return q;
}

}  // namespace nnext::test
