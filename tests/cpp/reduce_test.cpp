// Sums over an axis, the sum of squares, and scaling.
#include "nnext/reduce.h"

#include "matrix.h"
#include "page_end.h"
#include "support.h"

namespace nnext::test {
namespace {

// The written order: element e goes to lane e mod 16, in float64; lanes join in a fixed tree.
template <class T, class Add>
double sum_in_lanes(const T* x, index_t n, const Add& add) {
  double lane[16] = {};
  for (index_t e = 0; e < n; ++e) lane[e % 16] = add(lane[e % 16], static_cast<double>(x[e]));
  for (int width = 8; width > 0; width /= 2) {
    for (int i = 0; i < width; ++i) lane[i] += lane[i + width];
  }
  return lane[0];
}
template <class T>
T lane_sum(const T* x, index_t n) {
  return static_cast<T>(sum_in_lanes(x, n, [](double sum, double v) { return sum + v; }));
}
template <class T>
double lane_squares(const T* x, index_t n) {
  return sum_in_lanes(x, n, [](double sum, double v) { return std::fma(v, v, sum); });
}

class ReduceKernel : public IsaTest {};
NNEXT_EVERY_ISA(ReduceKernel);

TEST_P(ReduceKernel, RowSumsAreTheFixedTree) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for (const auto draw : {&whole_number<T>, &real_number<T>, &special_number<T>}) {
      for (const index_t cols : edge_sizes(kernels.lanes)) {
        for (const index_t rows : {0, 1, 3}) {
          const Array<T> x(rows * cols, /*seed=*/1, draw);
          Array<T> expected(rows);
          for (index_t r = 0; r < rows; ++r) expected[r] = lane_sum(x.data() + r * cols, cols);
          Array<T> sums(rows);
          kernels.row_sums(x.data(), sums.data(), rows, cols);
          ASSERT_TRUE(same_bits(expected, sums)) << rows << " x " << cols;
        }
      }
    }
  });
}

TEST_P(ReduceKernel, ColumnSumsAreChainsInTheOrderOfRows) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for (const auto draw : {&whole_number<T>, &real_number<T>, &special_number<T>}) {
      for (const index_t cols : edge_sizes(kernels.lanes)) {
        for (const index_t rows : {0, 1, 2, 17}) {
          for (const index_t gap : {0, 3}) {
            const index_t stride = cols + gap;
            Array<T> x(rows * stride, /*seed=*/1, draw);
            Array<T> expected(cols);
            std::fill_n(expected.data(), cols, T{0});
            for (index_t r = 0; r < rows; ++r) {
              for (index_t j = 0; j < stride; ++j) {
                if (j < cols) {
                  expected[j] += x[r * stride + j];
                } else {
                  x[r * stride + j] = kNan<T>;
                }
              }
            }
            Array<T> sums(cols);
            kernels.column_sums(x.data(), stride, sums.data(), rows, cols, false);
            ASSERT_TRUE(same_bits(expected, sums)) << rows << " x " << cols;
            // Gathered from two blocks of rows: the same chains.
            const index_t first = rows / 2;
            kernels.column_sums(x.data(), stride, sums.data(), first, cols, false);
            kernels.column_sums(x.data() + first * stride, stride, sums.data(), rows - first, cols,
                                true);
            ASSERT_TRUE(same_bits(expected, sums)) << rows << " x " << cols << " in two blocks";
          }
        }
      }
    }
  });
}

TEST_P(ReduceKernel, SumOfSquaresIsTheFixedTree) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for (const auto draw : {&whole_number<T>, &real_number<T>, &special_number<T>}) {
      for (const index_t n : edge_sizes(kernels.lanes)) {
        const Array<T> x(n, /*seed=*/1, draw);
        ASSERT_TRUE(
            same(lane_squares(x.data(), n), kernels.sum_of_squares(x.data(), n, /*factor=*/1)))
            << n;
      }
    }
  });
}

TEST_P(ReduceKernel, TouchesNothingPastItsArrays) {
  for_both_types(*GetParam(), []<class T>(const Kernels<T>& kernels) {
    for (index_t n = 1; n <= 2 * kernels.lanes + 17; ++n) {
      PageEnd<T> x(n, T{1});
      PageEnd<T> sums(n, T{0});
      kernels.column_sums(x.data(), n, sums.data(), 1, n, false);
      PageEnd<T> sum(1, T{0});
      kernels.row_sums(x.data(), sum.data(), 1, n);
      EXPECT_EQ(sum.data()[0], static_cast<T>(n));
      EXPECT_EQ(kernels.sum_of_squares(x.data(), n, /*factor=*/2), 4.0 * static_cast<double>(n));
    }
  });
}

template <class T>
class Reduce : public testing::Test {};
TYPED_TEST_SUITE(Reduce, Reals, RealNames);

TYPED_TEST(Reduce, SumAxisIsItsWrittenOrderOnAnyNumberOfThreads) {
  using T = TypeParam;
  constexpr struct {
    index_t outer, axis, inner;
  } kShapes[] = {{1, 5, 1},      {4, 1, 1},     {3, 0, 1},   {3, 0, 4},   {0, 3, 2},
                 {2, 3, 0},      {1, 7, 65},    {3, 33, 17}, {2, 2, 129}, {700, 300, 1},
                 {1, 300, 1000}, {2, 1, 70000}, {3, 5, 2},   {9, 64, 1},  {1, 1, 1},
                 {1, 100000, 1}, {1, 50000, 3}};
  for (const auto& shape : kShapes) {
    const auto [outer, axis, inner] = shape;
    const Array<T> x(outer * axis * inner, /*seed=*/1, &real_number<T>);
    Array<T> expected(outer * inner);
    for (index_t o = 0; o < outer; ++o) {
      for (index_t i = 0; i < inner; ++i) {
        const T* from = x.data() + o * axis * inner + i;
        const auto chain = [&, n = inner](index_t first, index_t count, T sum) {
          for (index_t a = first; a < first + count; ++a) sum += from[a * n];
          return sum;
        };
        expected[o * inner + i] = inner == 1
                                      ? lane_sum(from, axis)
                                      : sum_by_the_rule(axis, SumInto::kOverwrite, T{0}, chain);
      }
    }
    for (const int threads : {1, 2, 3, 8}) {
      const ThreadsInUse in_use(threads);
      Array<T> sums(outer * inner);
      sum_axis(x.data(), sums.data(), outer, axis, inner);
      ASSERT_TRUE(same_bits(expected, sums))
          << "(" << outer << ", " << axis << ", " << inner << "), " << threads << " threads";
    }
  }
}

TYPED_TEST(Reduce, SumOfSquaresAndScaleDoNotDependOnThreads) {
  using T = TypeParam;
  const Array<T> x(200003, /*seed=*/1, &real_number<T>);
  Array<T> scaled(x.size());
  for (index_t i = 0; i < x.size(); ++i) scaled[i] = x[i] * T(0.7);
  for (const int threads : {1, 2, 3, 8}) {
    const ThreadsInUse in_use(threads);
    EXPECT_EQ(sum_of_squares(x.data(), x.size()), lane_squares(x.data(), x.size()));
    Array<T> y = x;
    scale(y.data(), y.size(), T(0.7));
    EXPECT_TRUE(same_bits(scaled, y));
  }
}

TYPED_TEST(Reduce, SquaresOfLargeFloatsDoNotOverflow) {
  const float large[] = {1e30f, -1e30f};
  EXPECT_DOUBLE_EQ(sum_of_squares(large, 2), 2.0 * static_cast<double>(1e30f) * 1e30f);
  EXPECT_EQ(sum_of_squares<TypeParam>(nullptr, 0), 0);
}

// The norm of several arrays, as a caller joins them.
template <class T>
double norm_of_all(std::initializer_list<std::vector<T>> arrays) {
  return norm_of([&](double factor) {
    double sum = 0;
    for (const std::vector<T>& x : arrays) {
      sum += sum_of_squares(x.data(), static_cast<index_t>(x.size()), factor);
    }
    return sum;
  });
}

TYPED_TEST(Reduce, NormIsFiniteWhereItsValueIs) {
  using T = TypeParam;
  using Limits = std::numeric_limits<T>;
  for (const T x :
       {Limits::denorm_min(), Limits::min(), T(0x1p-100), T(1), T(0x1p100), Limits::max() / 8}) {
    const double value = static_cast<double>(normal(x));
    EXPECT_DOUBLE_EQ(norm_of_all<T>({{x}}), value);
    EXPECT_DOUBLE_EQ(norm_of_all<T>({{4 * x, 0}, {}, {-4 * x, 4 * x}, {4 * x}}) / 8, value);
  }
  // The sums of squares of numbers that have none of their own.
  for (const T x : {T(0x1p-100), Limits::min()}) {
    EXPECT_DOUBLE_EQ(norm_of_all<T>({{x, x, x, x}}), 2 * static_cast<double>(x));
  }
  EXPECT_EQ(norm_of_all<T>({}), 0);
  EXPECT_EQ(norm_of_all<T>({{}, {0, -T(0)}}), 0);
}

TYPED_TEST(Reduce, NormOfOrdinaryNumbersIsTheRootOfTheirSquares) {
  using T = TypeParam;
  const Array<T> x(1003, /*seed=*/1, &real_number<T>);
  for (const T size : {T(1e-30), T(1), T(1e30)}) {
    std::vector<T> scaled;
    scaled.reserve(static_cast<std::size_t>(x.size()));
    for (index_t i = 0; i < x.size(); ++i) scaled.push_back(size * x[i]);
    const double sum = sum_of_squares(scaled.data(), x.size());
    EXPECT_EQ(norm_of_all<T>({scaled}), std::sqrt(sum));
    EXPECT_EQ(norm_of_all<T>({scaled, scaled}), std::sqrt(sum + sum));
  }
}

TYPED_TEST(Reduce, NormPassesInfinityAndNanOn) {
  using T = TypeParam;
  const T inf = std::numeric_limits<T>::infinity();
  const T nan = std::numeric_limits<T>::quiet_NaN();
  for (const T other : {T(0), T(1), std::numeric_limits<T>::max(), -inf}) {
    EXPECT_EQ(norm_of_all<T>({{other}, {1, inf}}), std::numeric_limits<double>::infinity());
    EXPECT_TRUE(std::isnan(norm_of_all<T>({{other, nan}, {1}})));
    EXPECT_TRUE(std::isnan(norm_of_all<T>({{inf, other}, {nan}})));
  }
}

TEST(Norm, OfNumbersFarApartIsThatOfTheLarge) {
  EXPECT_DOUBLE_EQ(norm_of_all<double>({{1e200, 1e-200}, {1}}), 1e200);
  EXPECT_DOUBLE_EQ(norm_of_all<double>({{1e-170, 1e-200}}), 1e-170);
  // A norm beyond float64 is infinite.
  EXPECT_TRUE(std::isinf(norm_of_all<double>({{1.7e308, 1.7e308}})));
}

}  // namespace
}  // namespace nnext::test
