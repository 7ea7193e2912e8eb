// What is asked of the operating system beyond the C++ library: memory, CPUs, forks. The same
// functions stand in os_posix.h and in os_windows.h, which say what each system has no word for.
#pragma once

#include <cstddef>

namespace nnext::os {

constexpr std::size_t kLine = 64;
constexpr std::size_t kHugePage = std::size_t{2} << 20;

}  // namespace nnext::os

#if defined(_WIN32)
#include "os_windows.h"
#else
#include "os_posix.h"
#endif
