// Blocks of memory for large results, kept for the next result of about the same size: a block
// fresh from the system costs a page fault for every 4 KiB, which on large results takes longer
// than computing them.
#pragma once

#include <cstddef>

namespace nnext {

// Results of fewer bytes than this are better off with the C library, which keeps them itself.
constexpr std::size_t kSmallestBlock = std::size_t{128} << 10;

// A block of at least `bytes` >= kSmallestBlock bytes, aligned to a cache line, not initialised.
// Throws std::bad_alloc.
void* take_block(std::size_t bytes);

// Gives a block back, `bytes` as it was taken. The cache keeps at most 512 MiB, and a block that
// nobody took for a second returns to the system when the next one is given back.
void give_block(void* block, std::size_t bytes) noexcept;

// Returns all cached blocks to the system. Blocks that are in use are not affected.
void empty_cache() noexcept;

// Bytes that the cache holds now.
std::size_t cached_bytes() noexcept;

}  // namespace nnext
