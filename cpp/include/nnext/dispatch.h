// Which instruction set the kernels use: the best one that this program was built with and this CPU
// runs, chosen once. The environment variable NNEXT_ISA names another; results are the same bits
// under every one of them, only the speed differs.
#pragma once

#include <string>
#include <vector>

namespace nnext {

// Name of the instruction set in use: "avx512", "avx2", "neon" or "portable".
// Throws std::runtime_error when NNEXT_ISA names one that is unknown or not available here.
const char* isa_in_use();

// Names of those built into this program, best first.
std::vector<std::string> isas_compiled();

// Names of those that this CPU can run, best first.
std::vector<std::string> isas_available();

}  // namespace nnext
