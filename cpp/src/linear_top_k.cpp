// The best classes of a linear layer, chunk by chunk of rows.
#include <cmath>
#include <numeric>
#include <vector>

#include "dispatch.h"
#include "nnext/linear_cross_entropy.h"
#include "score_chunk.h"

namespace nnext {
namespace {

// The k best of a row in order, into classes.
template <class T>
void best_classes(const T* scores, index_t cols, index_t k, std::int64_t* classes) {
  const auto value = [scores](std::int64_t c) {
    return std::isnan(scores[c]) ? -std::numeric_limits<T>::infinity() : scores[c];
  };
  const auto better = [&](std::int64_t a, std::int64_t b) {
    return value(a) > value(b) || (value(a) == value(b) && a < b);
  };
  // A heap whose front is the worst of the k best so far; most classes fail against it.
  std::iota(classes, classes + k, std::int64_t{0});
  std::make_heap(classes, classes + k, better);
  for (std::int64_t c = k; c < cols; ++c) {
    if (!(scores[c] > value(classes[0]))) continue;
    std::pop_heap(classes, classes + k, better);
    classes[k - 1] = c;
    std::push_heap(classes, classes + k, better);
  }
  std::sort_heap(classes, classes + k, better);
}

template <class T>
void cap(ScoreChunk<T>& chunk, index_t rows, index_t cols, T softcap) {
  const Kernels<T>& table = kernels<T>();
  parallel_ranges(rows, std::max<index_t>(1, kHeavyGrain / cols), 1,
                  [&](index_t begin, index_t end) {
                    for (index_t i = begin; i < end; ++i) {
                      table.softcap(chunk.data() + i * chunk.stride(), cols, softcap);
                    }
                  });
}

}  // namespace

template <class T>
void linear_top_k(const LinearScores<T>& scores, T softcap, index_t k, std::int64_t* classes,
                  T* log_prob) {
  const index_t count = scores.x.rows;
  const index_t cols = scores.w.cols;
  if (k == 0) return;
  ScoreChunk<T> chunk(scores, count);
  std::vector<index_t> row(static_cast<std::size_t>(count));
  std::iota(row.begin(), row.end(), index_t{0});
  std::vector<std::int64_t> best(static_cast<std::size_t>(chunk.rows()));
  std::vector<double> loss(best.size());
  for (index_t first = 0; first < count; first += chunk.rows()) {
    const index_t n = std::min(chunk.rows(), count - first);
    chunk.compute(chunk.x(row.data() + first, n));
    if (softcap != 0) cap(chunk, n, cols, softcap);  // first: capped scores may be equal
    std::int64_t* const to = classes + first * k;
    parallel_ranges(n, std::max<index_t>(1, kLightGrain / cols), 1,
                    [&](index_t begin, index_t end) {
                      for (index_t i = begin; i < end; ++i) {
                        best_classes(chunk.data() + i * chunk.stride(), cols, k, to + i * k);
                      }
                    });
    // The loss of the best class, which is the logarithm of a sum that has 1 among its terms.
    for (index_t i = 0; i < n; ++i) best[static_cast<std::size_t>(i)] = to[i * k];
    cross_entropy<T>(chunk.data(), chunk.stride(), n, cols, {best.data()}, LossTerms<T>{}, nullptr,
                     RowResult::kLoss, loss.data());
    for (index_t i = 0; i < n; ++i) {
      const T* const z = chunk.data() + i * chunk.stride();
      const auto top = static_cast<double>(z[to[i * k]]);
      for (index_t j = 0; j < k; ++j) {
        const double distance = top - static_cast<double>(z[to[i * k + j]]);
        log_prob[(first + i) * k + j] =
            static_cast<T>(-(distance + loss[static_cast<std::size_t>(i)]));
      }
    }
  }
}

template void linear_top_k<float>(const LinearScores<float>&, float, index_t, std::int64_t*,
                                  float*);
template void linear_top_k<double>(const LinearScores<double>&, double, index_t, std::int64_t*,
                                   double*);

}  // namespace nnext
