// x86-64 with AVX-512 F, DQ, BW and VL (Skylake-X, Zen 4 and later).
#define NNEXT_SIMD avx512
#define NNEXT_ISA_NAME "avx512"
#define NNEXT_VECTOR_BYTES 64
#include "kernels/instantiate.h"
