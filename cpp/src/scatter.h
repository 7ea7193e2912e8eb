// Terms that are added to rows of a table by index. The table is cut among threads by its rows,
// each thread passing over all indices: every row is summed by one thread, in the order of the
// indices.
#pragma once

#include <algorithm>
#include <cstdint>

#include "dispatch.h"
#include "grain.h"
#include "nnext/threads.h"
#include "sum_blocks.h"

namespace nnext {

// For each of up to kSumBlock indices, the place of the next equal one.
class Repeats {
 public:
  Repeats(const std::int64_t* index, index_t n) {
    std::fill_n(place_, kSlots, kNone);
    for (index_t i = n; i-- > 0;) {  // backwards: a slot holds the nearest equal index after i
      std::uint64_t slot = static_cast<std::uint64_t>(index[i]) * kSpread >> (64 - kSlotBits);
      while (place_[slot] != kNone && index[place_[slot]] != index[i]) slot = (slot + 1) % kSlots;
      next_[i] = place_[slot];
      is_first_[i] = true;
      if (next_[i] != kNone) is_first_[next_[i]] = false;
      place_[slot] = static_cast<std::int16_t>(i);
    }
  }

  bool is_first(index_t i) const { return is_first_[i]; }
  bool is_last(index_t i) const { return next_[i] == kNone; }
  index_t next(index_t i) const { return next_[i]; }  // -1 after the last

 private:
  static constexpr std::int16_t kNone = -1;
  static constexpr int kSlotBits = 11;
  static constexpr std::uint64_t kSlots = std::uint64_t{1} << kSlotBits;
  static_assert(kSlots >= 2 * kSumBlock, "half of the slots stay free, so that runs are short");
  static constexpr std::uint64_t kSpread = 0x9E3779B97F4A7C15u;  // 2^64 / golden ratio (Knuth)

  std::int16_t place_[kSlots];
  std::int16_t next_[kSumBlock];
  bool is_first_[kSumBlock];
};

// The rows [begin, end) of a table, dw[v] at dw + v * row_stride.
template <class T>
struct RowsOfTable {
  T* dw;
  index_t row_stride;
  index_t width;
  index_t begin;
  index_t end;

  bool holds(std::int64_t v) const { return v >= begin && v < end; }
  T* row(std::int64_t v) const { return dw + v * row_stride; }
};

// dw[index[i]] += term i for i in [first, first + n), one after the other.
template <class T, class Add>
void add_each(const RowsOfTable<T>& rows, const std::int64_t* index, index_t first, index_t n,
              const Add& add) {
  for (index_t i = first; i < first + n; ++i) {
    if (rows.holds(index[i])) add(rows.row(index[i]), i, index_t{0}, rows.width);
  }
}

// The same, those of equal indices being added up apart first.
template <class T, class Add>
void add_totals(const RowsOfTable<T>& rows, const std::int64_t* index, index_t first, index_t n,
                const Add& add) {
  constexpr index_t kColumns = 1024;  // at a time, on the stack
  const Kernels<T>& table = kernels<T>();
  const Repeats repeats(index + first, n);
  T total[kColumns];
  for (index_t k = 0; k < n; ++k) {
    const std::int64_t v = index[first + k];
    if (!repeats.is_first(k) || !rows.holds(v)) continue;
    T* const row = rows.row(v);
    if (repeats.is_last(k)) {  // +0 + the term would be another number for two of -0 alone
      add(row, first + k, index_t{0}, rows.width);
      continue;
    }
    for (index_t j = 0; j < rows.width; j += kColumns) {
      const index_t cols = std::min(kColumns, rows.width - j);
      std::fill_n(total, cols, T{0});
      for (index_t i = k; i >= 0; i = repeats.next(i)) add(total, first + i, j, cols);
      table.add(row + j, total, cols);
    }
  }
}

// dw[v] = sum of the terms i with index[i] = v, in order, as nnext/sum.h says of n terms: with more
// than kLongestChain indices, each kSumBlock of them add up apart. add(sum, i, j, cols) adds
// columns [j, j + cols) of term i to sum[0 .. cols). dw has `rows` rows of `width` elements; `into`
// is kOverwrite or kContinue.
template <class T, class Add>
void scatter_add(const std::int64_t* index, index_t n, index_t width, T* dw, index_t rows,
                 index_t row_stride, SumInto into, const Add& add) {
  const index_t work = (rows + n) * width;
  const index_t grain = work < 2 * kLightGrain ? rows : 1;
  parallel_ranges(rows, grain, 1, [&](index_t begin, index_t end) {
    if (into == SumInto::kOverwrite) {
      for (index_t row = begin; row < end; ++row) std::fill_n(dw + row * row_stride, width, T{0});
    }
    const RowsOfTable<T> own = {dw, row_stride, width, begin, end};
    for_sum_blocks(n, SumInto::kContinue, [&](index_t first, index_t count, SumInto block) {
      if (block == SumInto::kAdd) {
        add_totals(own, index, first, count, add);
      } else {
        add_each(own, index, first, count, add);
      }
    });
  });
}

}  // namespace nnext
