// The rule of nnext/sum.h as a loop.
#pragma once

#include <algorithm>

#include "nnext/sum.h"

namespace nnext {

// Calls block(first, count, into) for the blocks of a sum of n terms in order: with `into` for the
// one chain that a short sum is, else with what makes each a chain of its own. `into` is not kAdd:
// the total has to be whole before it can be added.
template <class Block>
void for_sum_blocks(index_t n, SumInto into, const Block& block) {
  if (n <= kLongestChain) {
    block(index_t{0}, n, into);
    return;
  }
  for (index_t first = 0; first < n; first += kSumBlock) {
    const bool begins = first == 0 && into == SumInto::kOverwrite;
    block(first, std::min(kSumBlock, n - first), begins ? SumInto::kOverwrite : SumInto::kAdd);
  }
}

}  // namespace nnext
