// Right operands that are packed once: the very bits of the product that reads them as they lie.
#include "packed_operand.h"

#include <utility>

#include "recorded.h"
#include "support.h"

namespace nnext::test {
namespace {

template <class T>
class PackedOperands : public testing::Test {};
TYPED_TEST_SUITE(PackedOperands, Reals, RealNames);

TYPED_TEST(PackedOperands, HaveTheBitsOfTheProductWithAndWithoutRoom) {
  using T = TypeParam;
  for (const index_t rows : {1, 2, 5, 20, 61}) {
    for (const auto& [k, cols] :
         {std::pair<index_t, index_t>{1, 1}, {7, 33}, {65, 128}, {300, 515}}) {
      const Array<T> a = drawn_array<T>(rows * k, 1);
      const Array<T> b = drawn_array<T>(k * cols, 2);
      const Array<T> bias = drawn_array<T>(cols, 3);
      const Array<T> start = drawn_array<T>(rows * cols, 4);
      const MatrixView<const T> a_view{a.data(), rows, k, k, 1};
      for (const bool is_turned : {false, true}) {
        const MatrixView<const T> b_view = is_turned
                                               ? MatrixView<const T>{b.data(), k, cols, 1, k}
                                               : MatrixView<const T>{b.data(), k, cols, cols, 1};
        Array<T> room(PackedOperand<T>::size(k, cols));
        const PackedOperand<T> packed(b_view, room.data(), rows);
        for (const SumInto into : {SumInto::kOverwrite, SumInto::kContinue}) {
          for (const int threads : {1, 3}) {
            const ThreadsInUse in_use(threads);
            const T* const added = into == SumInto::kOverwrite ? bias.data() : nullptr;
            Array<T> expected = start;
            Array<T> found = start;
            matmul<T>(a_view, b_view, {expected.data(), rows, cols, cols, 1}, added, into);
            packed.multiply(a_view, {found.data(), rows, cols, cols, 1}, added, into);
            EXPECT_TRUE(same_bits(expected, found))
                << rows << ' ' << k << ' ' << cols << ' ' << is_turned << ' ' << threads;
            EXPECT_TRUE(room.guards_intact());
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace nnext::test
