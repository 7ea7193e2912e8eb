// Windows; see os.h. Its own header defines thousands of macros, so that os_windows.cpp alone has
// it.
#pragma once

#include <cstddef>
#include <thread>
#include <vector>

namespace nnext::os {

// `size` bytes aligned to a cache line; null where there is no memory. Large pages need a privilege
// that hardly any user has: to align to one would only cost as much again.
void* allocate(std::size_t alignment, std::size_t size) noexcept;

void release(void* memory) noexcept;

// Those that this process is kept to, of its first group: 64 at most.
int allowed_cpus() noexcept;

// Nobody has yet measured whether Windows too wakes a thread on the CPU of its waker (threads.cpp):
// threads go where it puts them.
inline int current_cpu() noexcept { return -1; }
inline bool keep_off(int, const std::vector<std::thread::native_handle_type>&) noexcept {
  return false;
}

// What __builtin_cpu_supports says elsewhere: here its answers lie in a library of Clang's that
// clang-cl does not link, and in Zig's they are never filled in.
bool runs_avx2() noexcept;
bool runs_avx512() noexcept;

// No process forks.
inline void at_fork(void (*)(), void (*)(), void (*)()) noexcept {}

}  // namespace nnext::os
