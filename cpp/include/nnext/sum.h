// How a sum over many terms runs, and what becomes of the number where it goes.
//
// Up to kLongestChain terms are one chain, in order: the bits are the same however the terms are
// blocked, and terms gathered in parts (kContinue) have the bits of the whole. But a chain goes
// wrong slowly: 2^25 ones add up to 2^24 in float32, and a million times 0.1 came out 1 % too
// large. So more terms are cut into blocks of kSumBlock (the last may be shorter), each a chain of
// its own from +0, whose totals are added in order: total = b0, total += b1, ... The error of a
// sum of K terms is at most about (kSumBlock + K / kSumBlock) u of the sum of their magnitudes.
// What decides is the number of terms alone, never threads, memory layout or instruction set. It
// holds for the matrix product, for sums over rows and for gradients that are added up by index.
#pragma once

#include "nnext/types.h"

namespace nnext {

constexpr index_t kLongestChain = 16384;
constexpr index_t kSumBlock = 1024;

// What a sum does with the number r that its result holds.
enum class SumInto {
  kOverwrite,  // r = the sum; r is not read
  kContinue,   // the sum begins with r: its chain goes on from r, totals of blocks are added to r
  kAdd,        // r = r + the sum, which is computed as for kOverwrite
};

}  // namespace nnext
