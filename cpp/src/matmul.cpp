// The matrix product: a plan, carried out by one thread or several.
#include "nnext/matmul.h"

#include <algorithm>

#include "blocked_product.h"
#include "nnext/threads.h"
#include "plan.h"

namespace nnext {

namespace {

// A stride that is never taken may be any: let it not look like a layout of its own.
template <class T>
Problem<T> problem(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c, const T* bias,
                   SumInto into) {
  if (b.cols == 1) b.col_stride = 1;
  if (c.cols == 1) c.col_stride = 1;
  if (a.rows == 1) a.row_stride = 1;
  if (c.rows == 1) c.row_stride = 1;
  return {a, b, c, bias, nullptr, into};
}

}  // namespace

template <class T>
Plan matmul_plan(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c, SumInto into) {
  return plan_product(problem<T>(a, b, c, nullptr, into), kernels<T>(), caches(), num_threads());
}

template <class T>
void matmul(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c, const T* bias,
            SumInto into) {
  if (c.rows == 0 || c.cols == 0) return;
  const Kernels<T>& table = kernels<T>();
  const Problem<T> given = problem<T>(a, b, c, bias, into);
  const Plan plan = plan_product(given, table, caches(), num_threads());
  const Problem<T> p = plan.transposed ? given.transposed() : given;
  if (plan.row_parts * plan.col_parts == 1) {
    compute_blocked(p, plan);
    return;
  }
  // Parts of whole tiles, so that none ends inside a cache line that another writes.
  const index_t tile_rows = table.tile_rows[table.tile_vectors];
  const index_t row_tiles = Cut(p.c.rows, tile_rows).pieces;
  const index_t col_vectors = Cut(p.c.cols, table.lanes).pieces;
  parallel_for(plan.row_parts * plan.col_parts, [&](int part) {
    const auto row = [&](index_t i) {
      return std::min(p.c.rows, row_tiles * i / plan.row_parts * tile_rows);
    };
    const auto col = [&](index_t i) {
      return std::min(p.c.cols, col_vectors * i / plan.col_parts * table.lanes);
    };
    const index_t i = part / plan.col_parts;
    const index_t j = part % plan.col_parts;
    compute_blocked(p.part(row(i), row(i + 1) - row(i), col(j), col(j + 1) - col(j)), plan);
  });
}

template void matmul<float>(MatrixView<const float>, MatrixView<const float>, MatrixView<float>,
                            const float*, SumInto);
template void matmul<double>(MatrixView<const double>, MatrixView<const double>, MatrixView<double>,
                             const double*, SumInto);
template Plan matmul_plan<float>(MatrixView<const float>, MatrixView<const float>,
                                 MatrixView<float>, SumInto);
template Plan matmul_plan<double>(MatrixView<const double>, MatrixView<const double>,
                                  MatrixView<double>, SumInto);

}  // namespace nnext
