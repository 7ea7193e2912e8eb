// Working memory of one thread: a block that grows, is kept for the next call, and goes with the
// thread. What belongs to the caller (results) is never taken from here.
#pragma once

#include <memory>

#include "nnext/types.h"
#include "os.h"

namespace nnext {

// At least `n` elements, aligned to a cache line, not initialised; valid until this thread's next
// call. Null where there is no memory for them: who asks can do with less. Large blocks ask for
// 2 MiB pages: packed panels are read end to end, thousands of 4 KiB pages a product.
template <class T>
T* scratch(index_t n) noexcept {
  struct Free {
    void operator()(void* p) const { os::release(p); }
  };
  thread_local std::unique_ptr<void, Free> block;
  thread_local std::size_t size = 0;
  const std::size_t wanted = static_cast<std::size_t>(n) * sizeof(T);
  if (wanted > size || block == nullptr) {
    const std::size_t unit = wanted >= os::kHugePage ? os::kHugePage : os::kLine;
    block.reset();
    size = (wanted / unit + 1) * unit;
    block.reset(os::allocate(unit, size));
    if (block == nullptr) {
      size = 0;
      return nullptr;
    }
  }
  return static_cast<T*>(block.get());
}

}  // namespace nnext
