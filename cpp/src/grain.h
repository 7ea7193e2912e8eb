// How much work a thread must get before a second one is worth waking, in elements: each grain is
// some 5 us of one core, against a fork and join of about 1 us.
#pragma once

#include "nnext/types.h"

namespace nnext {

constexpr index_t kLightGrain = 32768;  // a multiplication or so an element, bound by memory
constexpr index_t kHeavyGrain = 8192;   // an exponential or some divisions an element

// Cuts between threads fall on whole cache lines of either type, so no two threads write one line.
constexpr index_t kLineElements = 16;

}  // namespace nnext
