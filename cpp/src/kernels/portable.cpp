// Any CPU of the baseline: 16-byte vectors, which GCC and Clang lower to what there is.
#define NNEXT_SIMD portable
#define NNEXT_ISA_NAME "portable"
#define NNEXT_VECTOR_BYTES 16
#include "kernels/instantiate.h"
