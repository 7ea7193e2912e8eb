// Who makes the plans of nnext/plan.h.
#pragma once

#include "dispatch.h"
#include "nnext/caches.h"
#include "nnext/plan.h"
#include "problem.h"

namespace nnext {

// The plan of a product on at most so many threads, on a CPU with such caches.
template <class T>
Plan plan_product(const Problem<T>& p, const Kernels<T>& table, const Caches& caches, int threads);

// The width of tiles in vectors: wider ones than for many rows where few rows would leave the CPU
// fewer sums than it has multiply-adds under way. 1 x 256 x 256 nn with AVX2 on a Zen 5 53 with
// four vectors, 31 with two.
template <class T>
int width_for(index_t rows, const Kernels<T>& table);

// Lines that stay in a cache of a matrix whose rows lie `stride` bytes apart and are read `width`
// side by side. At a stride that is a power of two few sets take them all.
index_t lines_kept(const Cache& cache, index_t stride, index_t width);

}  // namespace nnext
