// AArch64, all of which have NEON and fused multiply-adds.
#define NNEXT_SIMD neon
#define NNEXT_ISA_NAME "neon"
#define NNEXT_VECTOR_BYTES 16
#include "kernels/instantiate.h"
