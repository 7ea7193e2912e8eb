// The cache of blocks: a short list of free blocks, the last one given back first.
//
// Sizes are rounded up to one of four steps between powers of two, so that results of nearly one
// size share blocks and at most a fifth of a block is not used. Blocks from 2 MiB on ask for huge
// pages, of which one page fault fills 512 small ones.
#include "nnext/memory.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <mutex>
#include <new>
#include <vector>

#include "os.h"

namespace nnext {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kMostBytes = std::size_t{512} << 20;
constexpr auto kIdle = std::chrono::seconds(1);

struct FreeBlock {
  void* memory;
  std::size_t size;
  Clock::time_point since;
};

// Never destroyed: arrays may be freed after static objects have gone.
struct Cache {
  std::mutex mutex;
  std::vector<FreeBlock> blocks;  // oldest first
  std::size_t bytes = 0;
};

Cache& cache() {
  static Cache* const the_cache = [] {
    auto* made = new Cache;
    // A child forked while another thread holds the lock could never take it.
    os::at_fork([] { cache().mutex.lock(); }, [] { cache().mutex.unlock(); },
                [] { cache().mutex.unlock(); });
    return made;
  }();
  return *the_cache;
}

std::size_t rounded_size(std::size_t bytes) {
  const std::size_t step = std::max(std::bit_floor(bytes) / 4, os::kLine);
  const std::size_t size = (bytes + step - 1) / step * step;
  if (size < os::kHugePage) return size;
  return (size + os::kHugePage - 1) / os::kHugePage * os::kHugePage;
}

// Drops the blocks that satisfy `is_old`, from the oldest on.
template <class IsOld>
void drop_while(Cache& c, const IsOld& is_old) {
  auto end = c.blocks.begin();
  while (end != c.blocks.end() && is_old(*end)) {
    c.bytes -= end->size;
    os::release(end->memory);
    ++end;
  }
  c.blocks.erase(c.blocks.begin(), end);
}

}  // namespace

void* take_block(std::size_t bytes) {
  const std::size_t size = rounded_size(bytes);
  Cache& c = cache();
  {
    const std::lock_guard lock(c.mutex);
    const auto found = std::find_if(c.blocks.rbegin(), c.blocks.rend(),
                                    [&](const FreeBlock& b) { return b.size == size; });
    if (found != c.blocks.rend()) {
      void* const memory = found->memory;
      c.bytes -= size;
      c.blocks.erase(std::next(found).base());
      return memory;
    }
  }
  void* const memory = os::allocate(size >= os::kHugePage ? os::kHugePage : os::kLine, size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void give_block(void* block, std::size_t bytes) noexcept {
  const std::size_t size = rounded_size(bytes);
  Cache& c = cache();
  const std::lock_guard lock(c.mutex);
  const auto now = Clock::now();
  drop_while(
      c, [&](const FreeBlock& b) { return now - b.since > kIdle || c.bytes + size > kMostBytes; });
  if (c.bytes + size > kMostBytes) {
    os::release(block);
    return;
  }
  try {
    c.blocks.push_back({block, size, now});
    c.bytes += size;
  } catch (const std::bad_alloc&) {
    os::release(block);
  }
}

void empty_cache() noexcept {
  Cache& c = cache();
  const std::lock_guard lock(c.mutex);
  drop_while(c, [](const FreeBlock&) { return true; });
}

std::size_t cached_bytes() noexcept {
  Cache& c = cache();
  const std::lock_guard lock(c.mutex);
  return c.bytes;
}

}  // namespace nnext
