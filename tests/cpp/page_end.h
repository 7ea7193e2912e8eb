// Arrays at the very end of memory: what reads or writes past the last element dies of a fault.
#pragma once

#include <cstddef>

#include "support.h"

namespace nnext::test {

// At least `bytes` of memory, up to a page that nobody may touch. os_posix.cpp, os_windows.cpp.
class GuardedMemory {
 public:
  explicit GuardedMemory(std::size_t bytes);  // throws std::bad_alloc
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;
  ~GuardedMemory();

  unsigned char* end() const { return end_; }

 private:
  void* memory_;
  std::size_t size_;
  unsigned char* end_;
};

// n elements of `value`, the last one right before such a page.
template <class T>
class PageEnd {
 public:
  PageEnd(index_t n, T value)
      : memory_(static_cast<std::size_t>(n) * sizeof(T)),
        data_(reinterpret_cast<T*>(memory_.end()) - n) {
    for (index_t i = 0; i < n; ++i) data_[i] = value;
  }

  T* data() { return data_; }

 private:
  GuardedMemory memory_;
  T* data_;
};

}  // namespace nnext::test
