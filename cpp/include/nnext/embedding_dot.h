// Scores of rows against rows of a table by index, and their gradients: what negative sampling
// looks at of a large vocabulary, where a matrix product would look at all of it.
// Source: Mikolov et al., Distributed Representations of Words and Phrases and their
// Compositionality, NIPS 2013; Deep Learning from Scratch 2, ch. 4.2.
//
// n rows h of `width` contiguous elements, and for each of them `count` indices, contiguous. Row v
// of w lies at w + v * row_stride; its elements are contiguous. Outputs never overlap inputs.
#pragma once

#include <cstdint>

#include "nnext/sum.h"
#include "nnext/types.h"

namespace nnext {

// scores[i, c] = sum over j of h[i, j] w[index[i, c], j], in float64 over 16 lanes joined in a
// fixed tree, rounded once: neither n nor count changes its bits. Below the smallest normal number
// it is zero, and so are such numbers of h and w.
template <class T>
void embedding_dot(const T* h, const T* w, index_t row_stride, const std::int64_t* index, index_t n,
                   index_t count, index_t width, T* scores);

// dh[i] = sum over c of dscores[i, c] w[index[i, c]], one chain, and
// dw[v] = sum of dscores[i, c] h[i] over the (i, c) with index[i, c] = v, in order, as
// embedding_backward adds up n * count rows. Products below the smallest normal number are zero.
// dw has `rows` rows; `into`, kOverwrite or kContinue, is about it alone.
template <class T>
void embedding_dot_backward(const T* dscores, const T* h, const T* w, index_t row_stride,
                            const std::int64_t* index, index_t n, index_t count, index_t width,
                            T* dh, T* dw, index_t rows, index_t dw_stride,
                            SumInto into = SumInto::kOverwrite);

}  // namespace nnext
