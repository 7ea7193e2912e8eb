// Right operands that are packed once: the very bits of the product that reads them as they lie.
#include "packed_operand.h"

#include <utility>

#include "matrix.h"
#include "recorded.h"
#include "support.h"

namespace nnext::test {
namespace {

template <class T>
class PackedOperands : public testing::Test {
 protected:
  // A product of so many rows by a packed operand, and by the one that reads it as it lies.
  static void expect_same_bits(index_t rows, index_t k, index_t cols, bool is_turned, bool has_room,
                               SumInto into) {
    const Array<T> a = drawn_array<T>(rows * k, 1);
    const Array<T> b = drawn_array<T>(k * cols, 2);
    const Array<T> bias = drawn_array<T>(cols, 3);
    const index_t stride = cols + 3;  // of the result
    const Array<T> start = drawn_array<T>(rows * stride, 4);
    const MatrixView<const T> left{a.data(), rows, k, k, 1};
    const MatrixView<const T> right = is_turned ? MatrixView<const T>{b.data(), k, cols, 1, k}
                                                : MatrixView<const T>{b.data(), k, cols, cols, 1};
    Array<T> room(PackedOperand<T>::size(k, cols) + 1);  // not at the beginning of a line
    const PackedOperand<T> packed(right, has_room ? room.data() + 1 : nullptr, /*rows=*/rows + 3);
    for (const T* const added : {bias.data(), static_cast<const T*>(nullptr)}) {
      Array<T> expected = start;
      Array<T> found = start;
      matmul<T>(left, right, {expected.data(), rows, cols, stride, 1}, added, into);
      packed.multiply(left, {found.data(), rows, cols, stride, 1}, added, into);
      EXPECT_TRUE(same_bits(expected, found))
          << rows << ' ' << k << ' ' << cols << ' ' << is_turned << ' ' << has_room;
      EXPECT_TRUE(room.guards_intact());
    }
  }
};
TYPED_TEST_SUITE(PackedOperands, Reals, RealNames);

TYPED_TEST(PackedOperands, HaveTheBitsOfTheProductWithAndWithoutRoom) {
  for (const int threads : {1, 3}) {
    const ThreadsInUse in_use(threads);
    for (const index_t rows : {0, 1, 2, 5, 20}) {
      for (const auto& [k, cols] :
           {std::pair<index_t, index_t>{1, 1}, {7, 33}, {65, 128}, {300, 70}}) {
        for (const SumInto into : {SumInto::kOverwrite, SumInto::kContinue, SumInto::kAdd}) {
          for (const bool is_turned : {false, true}) {
            this->expect_same_bits(rows, k, cols, is_turned, /*has_room=*/true, into);
          }
          this->expect_same_bits(rows, k, cols, /*is_turned=*/false, /*has_room=*/false, into);
        }
      }
    }
  }
}

TYPED_TEST(PackedOperands, OfSumsThatAreNoSingleChainsAreReadAsTheyLie) {
  this->expect_same_bits(2, kLongestChain + 1, 3, /*is_turned=*/false, /*has_room=*/true,
                         SumInto::kOverwrite);
}

}  // namespace
}  // namespace nnext::test
