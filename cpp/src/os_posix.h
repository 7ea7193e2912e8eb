// Linux, macOS and their like; see os.h. Inline: each function is called in one or two places.
#pragma once

#include <pthread.h>

#include <cstddef>
#include <cstdlib>
#include <thread>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#include <sys/mman.h>
#endif

namespace nnext::os {

// --- memory ---

// `size` bytes, a multiple of `alignment`, which is kLine or, to ask for huge pages, kHugePage.
// Null where there is no memory.
inline void* allocate(std::size_t alignment, std::size_t size) noexcept {
  void* const memory = std::aligned_alloc(alignment, size);
#if defined(__linux__)
  if (memory != nullptr && alignment == kHugePage) {
    madvise(memory, size, MADV_HUGEPAGE);  // a wish: failure is fine
  }
#endif
  return memory;
}

inline void release(void* memory) noexcept { std::free(memory); }

// --- CPUs ---

// Those that this process is kept to.
inline int allowed_cpus() noexcept {
#if defined(__linux__)
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  return static_cast<int>(std::thread::hardware_concurrency());
}

// The CPU that the calling thread is on; -1 where none can be kept free for it.
inline int current_cpu() noexcept {
#if defined(__linux__)
  return sched_getcpu();
#else
  return -1;
#endif
}

// Of the CPUs that the calling thread may use the others may use all but `cpu`. False where they
// would be left with none.
inline bool keep_off(int cpu, const std::vector<std::thread::native_handle_type>& others) noexcept {
#if defined(__linux__)
  cpu_set_t rest;
  CPU_ZERO(&rest);
  if (pthread_getaffinity_np(pthread_self(), sizeof rest, &rest) != 0) return false;
  CPU_CLR(static_cast<std::size_t>(cpu), &rest);
  if (CPU_COUNT(&rest) == 0) return false;
  for (const std::thread::native_handle_type other : others) {
    pthread_setaffinity_np(other, sizeof rest, &rest);
  }
  return true;
#else
  static_cast<void>(cpu);
  static_cast<void>(others);
  return false;
#endif
}

#if defined(__x86_64__)
// The compiler's function also asks whether the system saves the wide registers.
inline bool runs_avx2() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }

inline bool runs_avx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("fma");
}
#endif

// --- forks ---

// What is to be done around every fork from now on; null where nothing is.
inline void at_fork(void (*before)(), void (*in_parent)(), void (*in_child)()) noexcept {
  pthread_atfork(before, in_parent, in_child);
}

}  // namespace nnext::os
