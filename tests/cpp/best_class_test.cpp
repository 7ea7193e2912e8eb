// Predictions: the class with the largest score.
#include "support.h"

namespace nnext::test {
namespace {

class BestClass : public IsaTest {};
NNEXT_EVERY_ISA(BestClass);

TEST_P(BestClass, IsTheFirstOfTheLargestThatIsNotNan) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    constexpr index_t kRows = 50;
    for (const index_t cols : edge_sizes(kernels.lanes)) {
      if (cols == 0) continue;
      for (const auto draw : {&whole_number<T>, &special_number<T>}) {  // ties, NaN, infinities
        const Array<T> x(kRows * cols, /*seed=*/31, draw);
        std::vector<std::int64_t> best(kRows, -1);
        kernels.best(x.data(), best.data(), kRows, cols);
        for (index_t r = 0; r < kRows; ++r) {
          index_t expected = 0;
          T most = -kInf<T>;
          for (index_t i = 0; i < cols; ++i) {
            const T score = x[r * cols + i];
            if (score > most) {
              most = score;
              expected = i;
            }
          }
          ASSERT_EQ(best[static_cast<std::size_t>(r)], expected) << cols << " columns, row " << r;
        }
      }
    }
  });
}

}  // namespace
}  // namespace nnext::test
