// x86-64 with AVX2 and FMA (Haswell, Zen and later).
#define NNEXT_SIMD avx2
#define NNEXT_ISA_NAME "avx2"
#define NNEXT_VECTOR_BYTES 32
#include "kernels/instantiate.h"
