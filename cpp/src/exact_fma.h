// a * b + c with one rounding, in integers. For Windows: of its C libraries, MinGW's rounds some
// sums twice (one in 10000 where c is a power of two; its older one every fifth), and Microsoft's
// says nothing of CPUs without the instruction. Where the portable kernels run nothing else has it.
#pragma once

namespace nnext {

float exact_fma(float a, float b, float c) noexcept;
double exact_fma(double a, double b, double c) noexcept;

}  // namespace nnext
