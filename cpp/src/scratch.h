// Working memory of one thread: a block that grows, is kept for the next call, and goes with the
// thread. What belongs to the caller (results) is never taken from here.
#pragma once

#include <cstdlib>
#include <memory>
#include <new>

#include "nnext/types.h"

namespace nnext {

// At least `n` elements, aligned to a cache line, not initialised; valid until this thread's next
// call. Throws std::bad_alloc.
template <class T>
T* scratch(index_t n) {
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  thread_local std::unique_ptr<void, Free> block;
  thread_local std::size_t size = 0;
  constexpr std::size_t kLine = 64;
  const std::size_t wanted = (static_cast<std::size_t>(n) * sizeof(T) + kLine) / kLine * kLine;
  if (wanted > size) {
    block.reset();
    size = 0;
    block.reset(std::aligned_alloc(kLine, wanted));
    if (block == nullptr) throw std::bad_alloc();
    size = wanted;
  }
  return static_cast<T*>(block.get());
}

}  // namespace nnext
