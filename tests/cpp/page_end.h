// Arrays at the very end of memory: what reads or writes past the last element dies of a fault.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <new>

#include "support.h"

namespace nnext::test {

// n elements of `value`, the last one right before a page that nobody may touch.
template <class T>
class PageEnd {
 public:
  PageEnd(index_t n, T value) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t bytes = static_cast<std::size_t>(n) * sizeof(T);
    const std::size_t usable = (bytes + page - 1) / page * page;
    size_ = usable + page;
    memory_ = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory_ == MAP_FAILED) throw std::bad_alloc();
    auto* const start = static_cast<unsigned char*>(memory_);
    mprotect(start + usable, page, PROT_NONE);
    data_ = reinterpret_cast<T*>(start + usable - bytes);
    for (index_t i = 0; i < n; ++i) data_[i] = value;
  }
  PageEnd(const PageEnd&) = delete;
  PageEnd& operator=(const PageEnd&) = delete;
  ~PageEnd() { munmap(memory_, size_); }

  T* data() { return data_; }

 private:
  void* memory_;
  std::size_t size_;
  T* data_;
};

}  // namespace nnext::test
