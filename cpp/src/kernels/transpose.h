// Transposition of blocks as wide as a vector, in registers.
//
// Each 16-byte lane of four float (two double) rows is transposed within itself first, then whole
// lanes change places. All steps are two-operand shuffles within or of 16-byte lanes, which cost
// one instruction each; full permutations (vpermt2ps) took half as long again on packing.
#pragma once

#include "kernels/simd.h"

namespace nnext {
namespace NNEXT_SIMD {
namespace {

// Within each 16-byte lane: pieces of S elements from a and b in turn, from the lower half of the
// lane or (High) the upper.
template <class T, int S, bool High>
struct Interleave {  // coverage off: when it is compiled
  static constexpr int kLane = 16 / sizeof(T);
  static constexpr int at(int i) {
    const int in_lane = i % kLane;
    const int from_b = in_lane / S % 2;
    const int element = in_lane / (2 * S) * S + in_lane % S + (High ? kLane / 2 : 0);
    return i - in_lane + element + from_b * Simd<T>::lanes;
  }
};  // coverage on

// Every second 16-byte lane of a, then of b, from the first or (Odd) the second on.
template <class T, bool Odd>
struct EverySecondLane {  // coverage off: when it is compiled
  static constexpr int kLane = 16 / sizeof(T);
  static constexpr int kLaneCount = kVectorBytes / 16;
  static constexpr int at(int i) {
    const int lane = i / kLane;
    const int half = kLaneCount / 2 > 0 ? kLaneCount / 2 : 1;
    return (lane % half * 2 + (Odd ? 1 : 0)) * kLane + i % kLane + lane / half * Simd<T>::lanes;
  }
};  // coverage on

// Transposes the elements of `lanes` rows of `lanes` elements in place.
template <class T>
NNEXT_INLINE void transpose_block(Vec<T> (&rows)[Simd<T>::lanes]) {
  constexpr int kRows = Simd<T>::lanes;
  constexpr int kLane = 16 / sizeof(T);
  constexpr int kLaneCount = kVectorBytes / 16;
  Vec<T> t[kRows];
  // Groups of kLane rows: lane l of t[group + c] then holds column l * kLane + c of the group.
#pragma GCC unroll 16
  for (int g = 0; g < kRows; g += kLane) {
    if constexpr (kLane == 4) {
      const Vec<T> a = shuffle<T, Interleave<T, 1, false>>(rows[g], rows[g + 1]);
      const Vec<T> b = shuffle<T, Interleave<T, 1, true>>(rows[g], rows[g + 1]);
      const Vec<T> c = shuffle<T, Interleave<T, 1, false>>(rows[g + 2], rows[g + 3]);
      const Vec<T> d = shuffle<T, Interleave<T, 1, true>>(rows[g + 2], rows[g + 3]);
      t[g] = shuffle<T, Interleave<T, 2, false>>(a, c);
      t[g + 1] = shuffle<T, Interleave<T, 2, true>>(a, c);
      t[g + 2] = shuffle<T, Interleave<T, 2, false>>(b, d);
      t[g + 3] = shuffle<T, Interleave<T, 2, true>>(b, d);
    } else {
      t[g] = shuffle<T, Interleave<T, 1, false>>(rows[g], rows[g + 1]);
      t[g + 1] = shuffle<T, Interleave<T, 1, true>>(rows[g], rows[g + 1]);
    }
  }
  using Even = EverySecondLane<T, false>;
  using Odd = EverySecondLane<T, true>;
#pragma GCC unroll 16
  for (int c = 0; c < kLane; ++c) {
    if constexpr (kLaneCount == 4) {
      const Vec<T> a = shuffle<T, Even>(t[c], t[kLane + c]);
      const Vec<T> b = shuffle<T, Odd>(t[c], t[kLane + c]);
      const Vec<T> d = shuffle<T, Even>(t[2 * kLane + c], t[3 * kLane + c]);
      const Vec<T> e = shuffle<T, Odd>(t[2 * kLane + c], t[3 * kLane + c]);
      rows[c] = shuffle<T, Even>(a, d);
      rows[kLane + c] = shuffle<T, Even>(b, e);
      rows[2 * kLane + c] = shuffle<T, Odd>(a, d);
      rows[3 * kLane + c] = shuffle<T, Odd>(b, e);
    } else if constexpr (kLaneCount == 2) {
      rows[c] = shuffle<T, Even>(t[c], t[kLane + c]);
      rows[kLane + c] = shuffle<T, Odd>(t[c], t[kLane + c]);
    } else {
      rows[c] = t[c];
    }
  }
}

// Transposes up to a vector's width of rows: to[j * to_stride + i] = from[i * from_stride + j] for
// i < rows, j < cols. With Pad whole vectors are written, zero beyond `rows`.
template <class T, bool Pad>
NNEXT_INLINE void transpose_rows(const T* from, index_t from_stride, index_t rows, index_t cols,
                                 T* to, index_t to_stride) {
  constexpr int kVector = Simd<T>::lanes;
  for (index_t j = 0; j < cols; j += kVector) {
    const index_t left = cols - j < kVector ? cols - j : kVector;
    Vec<T> block[kVector];
#pragma GCC unroll 16
    for (int i = 0; i < kVector; ++i) {
      const T* row = from + i * from_stride + j;
      block[i] = i >= rows         ? Vec<T>{}
                 : left == kVector ? load<T>(row)
                                   : load_partial<T>(row, left, T{0});
    }
    transpose_block<T>(block);
#pragma GCC unroll 16
    for (int i = 0; i < kVector; ++i) {
      T* column = to + (j + i) * to_stride;
      if (i >= left) continue;
      if (Pad || rows == kVector) {
        store<T>(column, block[i]);
      } else {
        store_partial<T>(column, block[i], rows);
      }
    }
  }
}

template <class T>
void transpose(const T* from, index_t from_stride, index_t rows, index_t cols, T* to,
               index_t to_stride) {
  constexpr int kVector = Simd<T>::lanes;
  for (index_t i = 0; i < rows; i += kVector) {
    const index_t left = rows - i < kVector ? rows - i : kVector;
    transpose_rows<T, /*Pad=*/false>(from + i * from_stride, from_stride, left, cols, to + i,
                                     to_stride);
  }
}

}  // namespace
}  // namespace NNEXT_SIMD
}  // namespace nnext
