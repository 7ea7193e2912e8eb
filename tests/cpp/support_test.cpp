// The helpers of the tests reject what is wrong.
#include "matrix.h"

namespace nnext::test {
namespace {

TEST(Support, SameBitsRejectsTheSmallestDifference) {
  const Array<float> expected(20, /*seed=*/1, &real_number<float>);
  Array<float> actual = expected;
  EXPECT_TRUE(same_bits(expected, actual));
  actual[19] = std::nextafter(actual[19], 2.0f);
  EXPECT_FALSE(same_bits(expected, actual));
}

TEST(Support, SameBitsTellsZerosApartAndNansFromNumbers) {
  EXPECT_FALSE(same(0.0, -0.0));
  EXPECT_FALSE(same(kNan<double>, 0.0));
  EXPECT_FALSE(same(1.0, kNan<double>));
  EXPECT_TRUE(same(kNan<float>, canary<float>()));
}

TEST(Support, SameBitsRejectsAnotherSizeAndAnUnwrittenElement) {
  Array<double> three(3, /*seed=*/1, &real_number<double>);
  EXPECT_FALSE(same_bits(three, Array<double>(2, /*seed=*/1, &real_number<double>)));
  EXPECT_FALSE(same_bits(three, Array<double>(3)));
}

TEST(Support, ArraysNoticeStrayWrites) {
  for (const index_t place : {-64, -1, 4, 67}) {
    Array<float> array(4, /*seed=*/1, &real_number<float>);
    const Array<float> before = array;
    array[place] = 0;
    EXPECT_FALSE(array.guards_intact()) << place;
    EXPECT_FALSE(same_bits(before, array)) << place;
  }
}

TEST(Support, WithinRejectsWhatIsOutsideAndNan) {
  Array<float> array(2, /*seed=*/1, &real_number<float>);
  array[0] = 1;
  array[1] = 1.0625f;
  const auto one = [](index_t) { return 1.0L; };
  EXPECT_TRUE(within(array, one, [](index_t) { return 0.0625L; }));
  EXPECT_FALSE(within(array, one, [](index_t) { return 0.0624L; }));
  array[1] = kNan<float>;
  EXPECT_FALSE(within(array, one, [](index_t) { return kInf<long double>; }));
}

TEST(Support, UlpsCountUnitsOfTheLastPlace) {
  EXPECT_EQ(ulps(1.0f, 1.0), 0);
  EXPECT_EQ(ulps(1.0f, 1 + 0x1p-23), 1);
  EXPECT_EQ(ulps(1.0f, 1 - 0x1p-23), 2) << "units are half as large below 1";
  EXPECT_EQ(ulps(0.0f, 0x1.8p-149), 1.5);
  EXPECT_EQ(ulps(kInf<float>, 0x1.fffffep127), 1);
  EXPECT_EQ(ulps(kInf<float>, 0x1p200), 0);
  EXPECT_EQ(ulps(kNan<float>, kNan<double>), 0);
  EXPECT_EQ(ulps(kNan<float>, 0.0), kInf<double>);
  EXPECT_EQ(ulps(0.0f, kNan<double>), kInf<double>);
}

TEST(Support, MatricesOfEveryLayoutHoldTheirElementsAndNoticeStrayWrites) {
  for (const Layout& layout : kLayouts) {
    SCOPED_TRACE(layout.name);
    Matrix<double> matrix(3, 4, layout, /*seed=*/1, &real_number<double>);
    Array<double> elements(12);
    for (index_t i = 0; i < 12; ++i) elements[i] = matrix(i / 4, i % 4);
    EXPECT_TRUE(matrix.holds(elements));
    elements[7] += 1;
    EXPECT_FALSE(matrix.holds(elements));
    elements[7] -= 1;
    for (const index_t place : {-40, 60}) {
      Matrix<double> written = matrix;
      written.view().data[place] = 0;
      EXPECT_FALSE(written.holds(elements)) << place;
    }
  }
  Matrix<double> padded(2, 2, kPadded, /*seed=*/1, &whole_number<double>);
  Array<double> elements(4, /*seed=*/1, &whole_number<double>);
  EXPECT_TRUE(padded.holds(elements));
  padded.view().data[2] = 0;
  EXPECT_FALSE(padded.holds(elements));
}

TEST(Support, BothReferencesAreTheProductComputedByHand) {
  Matrix<float> a(2, 3, kRowMajor);
  Matrix<float> b(3, 1, kRowMajor);
  for (index_t i = 0; i < 6; ++i) a(i / 3, i % 3) = static_cast<float>(i + 1);
  for (index_t i = 0; i < 3; ++i) b(i, 0) = static_cast<float>(i + 7);
  Matrix<float> start(2, 1, kRowMajor);
  start(0, 0) = 100;
  start(1, 0) = 200;
  Array<float> bias(1);
  bias[0] = 1000;
  for (const Array<float>& c :
       {ordered_chain(a, b, bias, &start), triple_loop(a, b, bias, &start)}) {
    EXPECT_EQ(c[0], 1 * 7 + 2 * 8 + 3 * 9 + 1100);
    EXPECT_EQ(c[1], 4 * 7 + 5 * 8 + 6 * 9 + 1200);
  }
}

TEST(Support, OrderedChainRoundsOnceAStepAndInOrder) {
  // 1 + 2^-24 + 2^-24 is 1 in this order, and 1 + 2^-23 in the other.
  Matrix<float> a(1, 3, kRowMajor);
  Matrix<float> b(3, 1, kRowMajor);
  a(0, 0) = 1;
  a(0, 1) = a(0, 2) = 0x1p-12f;
  b(0, 0) = 1;
  b(1, 0) = b(2, 0) = 0x1p-12f;
  EXPECT_EQ(ordered_chain(a, b, Array<float>(0))[0], 1.0f);
  std::swap(a(0, 0), a(0, 2));
  std::swap(b(0, 0), b(2, 0));
  EXPECT_EQ(ordered_chain(a, b, Array<float>(0))[0], 1 + 0x1p-23f);
}

}  // namespace
}  // namespace nnext::test
