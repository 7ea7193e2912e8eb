// The cache of blocks behind large results.
#include "nnext/memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <vector>

namespace nnext::test {
namespace {

constexpr std::size_t kSize = std::size_t{300} << 10;

TEST(Memory, BlocksAreAlignedAndApart) {
  std::vector<void*> blocks;
  for (std::size_t i = 0; i < 8; ++i) {
    blocks.push_back(take_block(kSize + i));
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(blocks.back()) % 64, 0U);
    std::memset(blocks.back(), static_cast<int>(i), kSize + i);
  }
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    EXPECT_EQ(static_cast<unsigned char*>(blocks[i])[kSize + i - 1], i);
    give_block(blocks[i], kSize + i);
  }
  empty_cache();
}

TEST(Memory, ABlockGivenBackIsTheNextOneOfItsSize) {
  empty_cache();
  void* const block = take_block(kSize);
  give_block(block, kSize);
  EXPECT_GE(cached_bytes(), kSize);
  void* const other_size = take_block(8 * kSize);
  EXPECT_NE(other_size, block);
  void* const again = take_block(kSize - 100);
  EXPECT_EQ(again, block);
  EXPECT_EQ(cached_bytes(), 0U);
  give_block(again, kSize - 100);
  give_block(other_size, 8 * kSize);
  empty_cache();
  EXPECT_EQ(cached_bytes(), 0U);
}

TEST(Memory, TheCacheHasABound) {
  empty_cache();
  constexpr std::size_t kLarge = std::size_t{200} << 20;
  std::vector<void*> blocks;
  blocks.reserve(5);
  for (int i = 0; i < 5; ++i) blocks.push_back(take_block(kLarge));
  for (void* const block : blocks) give_block(block, kLarge);
  EXPECT_GE(cached_bytes(), kLarge);
  EXPECT_LE(cached_bytes(), std::size_t{512} << 20);
  empty_cache();
  // A block larger than the bound is never kept.
  constexpr std::size_t kHuge = std::size_t{600} << 20;
  give_block(take_block(kHuge), kHuge);
  EXPECT_EQ(cached_bytes(), 0U);
}

}  // namespace
}  // namespace nnext::test
