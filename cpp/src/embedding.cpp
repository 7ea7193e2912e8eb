// Gather and scatter-add of rows. The gradient is cut among threads by rows of the table, each
// thread passing over all indices: every row is summed by one thread, in the order of the indices.
#include "nnext/embedding.h"

#include <algorithm>
#include <cstdint>

#include "dispatch.h"
#include "grain.h"
#include "nnext/threads.h"
#include "sum_blocks.h"

namespace nnext {
namespace {

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

// dw[index[i]] += dout[i] for indices in [begin, end), one after the other.
template <class T>
void add_each(const T* dout, const std::int64_t* index, index_t n, index_t width, T* dw,
              index_t row_stride, index_t begin, index_t end) {
  for (index_t i = 0; i < n; ++i) {
    if (index[i] < begin || index[i] >= end) continue;
    kernels<T>().add(dw + index[i] * row_stride, dout + i * width, width);
  }
}

// The same, equal ones being added up apart first.
template <class T>
void add_totals(const T* dout, const std::int64_t* index, index_t n, index_t width, T* dw,
                index_t row_stride, index_t begin, index_t end) {
  constexpr index_t kColumns = 1024;  // at a time, on the stack
  const Kernels<T>& table = kernels<T>();
  const Repeats repeats(index, n);
  T total[kColumns];
  for (index_t first = 0; first < n; ++first) {
    if (!repeats.is_first(first) || index[first] < begin || index[first] >= end) continue;
    T* const row = dw + index[first] * row_stride;
    if (repeats.is_last(first)) {  // +0 + dout would be another number for two of -0 alone
      table.add(row, dout + first * width, width);
      continue;
    }
    for (index_t j = 0; j < width; j += kColumns) {
      const index_t cols = std::min(kColumns, width - j);
      std::fill_n(total, cols, T{0});
      for (index_t i = first; i >= 0; i = repeats.next(i)) {
        table.add(total, dout + i * width + j, cols);
      }
      table.add(row + j, total, cols);
    }
  }
}

}  // namespace

template <class T>
void embedding(const T* w, index_t row_stride, const std::int64_t* index, index_t n, index_t width,
               T* out) {
  parallel_ranges(n, kLightGrain / (width + 1) + 1, 1, [&](index_t begin, index_t end) {
    for (index_t i = begin; i < end; ++i) {
      std::copy_n(w + index[i] * row_stride, width, out + i * width);
    }
  });
}

template <class T>
void embedding_backward(const T* dout, const std::int64_t* index, index_t n, index_t width, T* dw,
                        index_t rows, index_t row_stride, SumInto into) {
  const index_t work = (rows + n) * width;
  const index_t grain = work < 2 * kLightGrain ? rows : 1;
  parallel_ranges(rows, grain, 1, [&](index_t begin, index_t end) {
    if (into == SumInto::kOverwrite) {
      for (index_t row = begin; row < end; ++row) std::fill_n(dw + row * row_stride, width, T{0});
    }
    for_sum_blocks(n, SumInto::kContinue, [&](index_t first, index_t count, SumInto block) {
      const auto add = block == SumInto::kAdd ? &add_totals<T> : &add_each<T>;
      add(dout + first * width, index + first, count, width, dw, row_stride, begin, end);
    });
  });
}

#define NNEXT_INSTANTIATE(T)                                                                \
  template void embedding<T>(const T*, index_t, const std::int64_t*, index_t, index_t, T*); \
  template void embedding_backward<T>(const T*, const std::int64_t*, index_t, index_t, T*,  \
                                      index_t, index_t, SumInto)
NNEXT_INSTANTIATE(float);
NNEXT_INSTANTIATE(double);
#undef NNEXT_INSTANTIATE

}  // namespace nnext
