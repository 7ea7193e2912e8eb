// How rows, columns and panels of the matrix product are cut.
#include "problem.h"
#include "support.h"

namespace nnext::test {
namespace {

TEST(CutTest, PiecesAreAsEvenAsCanBeAndTheLargerOnesComeFirst) {
  for (index_t total = 1; total <= 40; ++total) {
    for (index_t most = 1; most <= 41; ++most) {
      const Cut cut(total, most);
      EXPECT_EQ(cut.pieces, (total + most - 1) / most);
      index_t sum = 0;
      index_t pieces = 0;
      index_t before = total + 2;
      cut.by_size([&](index_t size, index_t count) {
        EXPECT_EQ(size, before == total + 2 ? size : before - 1);
        before = size;
        EXPECT_TRUE(count == 0 || size <= most);
        sum += size * count;
        pieces += count;
      });
      EXPECT_EQ(sum, total);
      EXPECT_EQ(pieces, cut.pieces);
    }
  }
}

}  // namespace
}  // namespace nnext::test
