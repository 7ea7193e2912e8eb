// The one place that knows about threads: a pool that runs the parts of one loop.
//
// No result depends on the number of threads: an operation cuts its output, never a sum.
#pragma once

#include <algorithm>
#include <string>

#include "nnext/types.h"

namespace nnext {

constexpr int kMaxThreads = 1024;

// Processors this process may use: its affinity mask, cut by the CPU quotas of its control group
// and of those around it.
int available_cpus();

// Threads a parallel loop may use, the calling one counted. At first NNEXT_NUM_THREADS, else
// OMP_NUM_THREADS, else available_cpus(). Throws std::runtime_error if NNEXT_NUM_THREADS is set to
// anything but a whole number from 1 to kMaxThreads (empty counts as unset). OMP_NUM_THREADS is
// for others too: of a list the first number, at most kMaxThreads, and passed over if it is none.
int num_threads();

// Sets num_threads() to n, kept within 1 and kMaxThreads. Threads are started when a loop first
// needs them, and never more than available_cpus(): beyond that n only cuts loops into more parts.
void set_num_threads(int n);

namespace detail {
// CPUs that the quotas of a control group (v2) allow, rounded up: the least that the files cpu.max
// say in the folder root + group and in those above it down to root; kMaxThreads where none does.
int cpus_of_quotas(const std::string& root, std::string group);

using PartFunction = void (*)(const void* body, int part);
void run_parts(int parts, PartFunction function, const void* body);
}  // namespace detail

// Calls body(part) once for each part in [0, parts), on up to num_threads() threads at a time, and
// returns when all have returned. If parts throw, one of the exceptions is thrown again here, after
// all threads have left the loop. Parts run in the calling thread alone when another thread is
// inside a parallel loop already, so loops may nest and callers never wait for each other, or when
// there is no memory for other threads. Safe in a forked child at any time: the child starts
// threads of its own.
template <class Body>
void parallel_for(int parts, const Body& body) {
  if (parts <= 1) {
    if (parts == 1) body(0);
    return;
  }
  detail::run_parts(
      parts, [](const void* b, int part) { (*static_cast<const Body*>(b))(part); }, &body);
}

// Calls body(begin, end) on consecutive ranges that make up [0, n), none of them shorter than
// `grain` items unless n is. Every begin is a multiple of `multiple`.
template <class Body>
void parallel_ranges(index_t n, index_t grain, index_t multiple, const Body& body) {
  if (n <= 0) return;
  const index_t wanted = std::min<index_t>(num_threads(), n / std::max<index_t>(grain, 1));
  if (wanted <= 1) {
    body(index_t{0}, n);
    return;
  }
  const index_t blocks = (n + multiple - 1) / multiple;
  const index_t parts = std::min(wanted, blocks);
  parallel_for(static_cast<int>(parts), [&](int part) {
    const index_t begin = blocks * part / parts * multiple;
    const index_t end = std::min(n, blocks * (part + 1) / parts * multiple);
    if (begin < end) body(begin, end);
  });
}

}  // namespace nnext
