// The kernels of the instruction set in use. Only the operations in src/ and the C++ tests ask.
#pragma once

#include <vector>

#include "kernels/table.h"

namespace nnext {

// The table in use; the first call chooses it (nnext/dispatch.h says how).
const KernelTable& kernel_table();

// Tables that this CPU can run, best first.
std::vector<const KernelTable*> available_tables();

template <class T>
const Kernels<T>& kernels();
template <>
inline const Kernels<float>& kernels<float>() {
  return kernel_table().f32;
}
template <>
inline const Kernels<double>& kernels<double>() {
  return kernel_table().f64;
}

}  // namespace nnext
