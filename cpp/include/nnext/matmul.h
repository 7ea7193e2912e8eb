// The matrix product C = A B (+ bias) over strided operands; float and double.
#pragma once

#include "nnext/sum.h"
#include "nnext/types.h"

namespace nnext {

// c[i, j] = sum over p of a[i, p] * b[p, j], plus bias[j] where a bias is given.
//
// Shapes: a (m, k), b (k, n), c (m, n), bias (n) contiguous or null; any size may be 0, and with
// k = 0 the sum is +0. Operands may have any strides; those of c must make its rows or its columns
// contiguous, and with a bias its rows. `into` says what becomes of the numbers in c; c must not
// overlap an operand.
//
// Every element is one chain of fused multiply-adds over p = 0, 1, ..., from k > kLongestChain on
// chains of kSumBlock whose totals are added (nnext/sum.h), with the bias added last: the same bits
// for any blocking, number of threads, instruction set and memory layout, for any rows computed
// apart, and for rows of k up to kLongestChain in all gathered in order (kContinue). |error| <= k u
// (|A| |B|) with u the unit roundoff (Higham, Accuracy and Stability, ch. 3).
//
// Never throws for want of memory: where there is none to pack operands in, it goes on without,
// more slowly. A first call may throw what isa_in_use() and num_threads() say of the environment.
template <class T>
void matmul(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c, const T* bias = nullptr,
            SumInto into = SumInto::kOverwrite);

}  // namespace nnext
